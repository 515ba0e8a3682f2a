import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Pointer } from '../../lfs/pointer.js'
import type { RepoState } from '../db/versions.js'
import type { ByteRange } from '../http/byte-range.js'
import { contentDisposition } from '../http/content-disposition.js'
import { isShown, mediaType, plainText } from '../http/media-type.js'
import { checkPreconditions } from '../http/preconditions.js'
import { sendNamedBytes } from '../http/send-bytes.js'
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
  /** Where the client gets them instead, for a while, without asking us again. */
  elsewhere?(fileName: string): Promise<URL>
}

/** Nothing that a repository holds may act in the hub's name: no script, no request, no frame around it. */
const contentPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
const forEver = 'public, max-age=31536000, immutable'

/** Open to everybody, so that caches between us and the client may have it too. */
const isOpenToAll = ({ visibility, gated, disabled }: RepoState): boolean => visibility === 'public' && gated === null && !disabled

type Headers = Record<string, string | number>

/** Headers that say which thing this is, for 200, 206 and 304 alike. */
function identityHeaders(repo: RepoState, { commit, isFixed }: FoundFile): Headers {
  const isOpen = isOpenToAll(repo)
  return {
    'x-repo-commit': commit,
    'cache-control': !isOpen ? 'private, no-cache' : isFixed ? forEver : 'no-cache',
    vary: 'Authorization',
    'content-security-policy': contentPolicy,
    'cross-origin-resource-policy': isOpen ? 'cross-origin' : 'same-origin',
  }
}

const nameOf = ({ path }: FoundFile): string => path.slice(path.lastIndexOf('/') + 1)

function contentHeaders(request: FastifyRequest, found: FoundFile, content: FileContent, etag: string): Headers {
  const name = nameOf(found)
  const type = content.isPointerText ? plainText : mediaType(name)
  const isInline = isShown(type) && !isTrue(request.query, 'download')
  return {
    'content-type': type,
    ...(isTrue(request.query, 'noContentDisposition') ? {} : { 'content-disposition': contentDisposition(isInline ? 'inline' : 'attachment', name) }),
    ...linkedHeaders(content, etag),
  }
}

/** What is known of a large object, with its bytes or instead of them. */
const linkedHeaders = ({ pointer, size }: FileContent, etag: string): Headers => (pointer ? { 'x-linked-etag': etag, 'x-linked-size': size } : {})

/** Answers a GET or HEAD with a file, a part of it, or why not. */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  { repo, found, content }: { readonly repo: RepoState; readonly found: FoundFile; readonly content: FileContent },
): Promise<FastifyReply> {
  const etag = `"${content.id}"`
  if (content.elsewhere && checkPreconditions(request.headers, etag) === 'send') {
    const { href } = await content.elsewhere(nameOf(found))
    return (
      reply
        .code(302)
        // The link is good for this caller and this hour.
        .headers({ ...identityHeaders(repo, found), ...linkedHeaders(content, etag), 'cache-control': 'private, no-store', location: href })
        .send()
    )
  }
  const sent = await sendNamedBytes(request, reply, {
    of: repo,
    etag,
    size: content.size,
    identity: identityHeaders(repo, found),
    headers: contentHeaders(request, found, content, etag),
    open: (range) => content.open(range),
  })
  if (sent?.outcome === 'failed') request.log.error({ err: sent.error, bytes: sent.bytes }, 'answer broken off')
  return reply
}
