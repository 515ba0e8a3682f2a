import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Pointer } from '../../lfs/pointer.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'
import { setErrorHeaders } from '../http/answer-headers.js'
import { contentRange, contentRangeOfNone, parseRange, type ByteRange } from '../http/byte-range.js'
import { contentDisposition } from '../http/content-disposition.js'
import { isShown, mediaType, plainText } from '../http/media-type.js'
import { checkPreconditions, rangeApplies } from '../http/preconditions.js'
import { sendStream } from '../http/send-stream.js'
import type { FoundFile } from '../repos/repo-files.js'
import { isTrue } from './query.js'

/** Bytes that can be sent, as a file of a repository. */
export interface FileContent {
  /** Git's or LFS's own name for the bytes, hex: what clients keep them under. */
  readonly id: string
  readonly size: number
  /** The large object that stands behind it. */
  readonly pointer?: Pointer | undefined
  /** The bytes are those of a pointer, whatever the file is called. */
  readonly isPointerText?: boolean
  open(range: ByteRange): AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>
}

/** Nothing that a repository holds may act in the hub's name: no script, no request, no frame around it. */
const contentPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
const forEver = 'public, max-age=31536000, immutable'

/** Open to everybody, so that caches between us and the client may have it too. */
const isOpenToAll = ({ visibility, gated, disabled }: RepoState): boolean => visibility === 'public' && gated === null && !disabled

type Headers = Record<string, string | number>

/** Headers that say which thing this is, for 200, 206 and 304 alike. */
function identityHeaders(repo: RepoState, { commit, isFixed }: FoundFile, etag: string): Headers {
  const isOpen = isOpenToAll(repo)
  return {
    'x-repo-commit': commit,
    etag,
    'cache-control': !isOpen ? 'private, no-cache' : isFixed ? forEver : 'no-cache',
    vary: 'Authorization',
    'content-security-policy': contentPolicy,
    'cross-origin-resource-policy': isOpen ? 'cross-origin' : 'same-origin',
  }
}

function contentHeaders(request: FastifyRequest, { path }: FoundFile, { size, pointer, isPointerText }: FileContent, etag: string): Headers {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const type = isPointerText ? plainText : mediaType(name)
  const isInline = isShown(type) && !isTrue(request.query, 'download')
  return {
    'content-type': type,
    'content-length': size,
    'accept-ranges': 'bytes',
    ...(isTrue(request.query, 'noContentDisposition') ? {} : { 'content-disposition': contentDisposition(isInline ? 'inline' : 'attachment', name) }),
    ...(pointer ? { 'x-linked-etag': etag, 'x-linked-size': size } : {}),
  }
}

/** Answers a GET or HEAD with a file, a part of it, or why not. */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  { repo, found, content }: { readonly repo: RepoState; readonly found: FoundFile; readonly content: FileContent },
): Promise<FastifyReply> {
  const etag = `"${content.id}"`
  const { size } = content
  const identity = identityHeaders(repo, found, etag)
  const precondition = checkPreconditions(request.headers, etag)
  if (precondition === 'failed')
    return refuse(request, reply.header('x-repo-commit', found.commit), 412, 'the file is not the one that If-Match names')
  if (precondition === 'not-modified') return reply.headers(identity).code(304).send()

  const headers: Headers = { ...identity, ...contentHeaders(request, found, content, etag) }
  // What a Range means is defined for GET alone.
  if (request.method === 'HEAD') return reply.headers(headers).send()
  const asked = rangeApplies(request.headers, etag) ? parseRange(request.headers.range, size) : parseRange(undefined, size)
  let range: ByteRange = { from: 0, to: size }
  if (size === 0) {
    // There is no part of nothing; clients that probe with a range take this, and take 416 for a failure.
    if (asked.kind !== 'whole') headers['content-range'] = contentRangeOfNone(size)
  } else if (asked.kind === 'unsatisfiable' || asked.kind === 'several') {
    reply.headers({ 'x-repo-commit': found.commit, 'content-range': contentRangeOfNone(size), 'accept-ranges': 'bytes' })
    return refuse(request, reply, 416, asked.kind === 'several' ? 'one range at a time, please' : `the range lies outside the file of ${size} bytes`)
  } else if (asked.kind === 'part') {
    range = asked.range
    headers['content-range'] = contentRange(range, size)
    headers['content-length'] = range.to - range.from
    reply.code(206)
  }
  await sendBytes(request, reply.headers(headers), headers, exactly(await opened(content, range, reply, headers), range.to - range.from))
  return reply
}

/** What an answer promised is not what a refusal should say. */
function takeBack(reply: FastifyReply, headers: Headers): void {
  reply.code(200)
  for (const name of Object.keys(headers)) reply.removeHeader(name)
}

async function opened(content: FileContent, range: ByteRange, reply: FastifyReply, headers: Headers): Promise<AsyncIterable<Uint8Array>> {
  try {
    return await content.open(range)
  } catch (error) {
    takeBack(reply, headers)
    throw error
  }
}

async function sendBytes(request: FastifyRequest, reply: FastifyReply, headers: Headers, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    const sent = await sendStream(reply, bytes)
    if (sent.outcome === 'failed') request.log.error({ err: sent.error, bytes: sent.bytes }, 'answer broken off')
  } catch (error) {
    takeBack(reply, headers)
    throw error
  }
}

/** As many bytes as were promised, or the connection breaks: a client must never take too few for all. */
async function* exactly(chunks: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let sent = 0
  for await (const chunk of chunks) {
    sent += chunk.length
    if (sent > bytes) break
    yield chunk
  }
  if (sent !== bytes) throw new HubError('corrupt', `a file of which ${bytes} bytes were promised has others`)
}

function refuse(request: FastifyRequest, reply: FastifyReply, status: number, message: string): FastifyReply {
  setErrorHeaders(reply, { status, message, hubCode: undefined, url: undefined })
  request.log.debug({ status, message }, 'request refused')
  return reply.type('application/json; charset=utf-8').send(JSON.stringify({ error: message }))
}
