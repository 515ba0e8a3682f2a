import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Hub } from './hub.js'
import { blob, commitOf, nameOf, packOf, treeOf } from './packs.js'
import { pkts } from './wire.js'

export const zero = '0'.repeat(40)
export const plainCapabilities = ' report-status side-band-64k agent=test'

export interface GitAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  /** The body, one character a byte. */
  readonly text: string
}

export interface PostOptions {
  /** '' for nobody. */
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
}

export const basic = (token: string): string => `Basic ${Buffer.from(`user:${token}`).toString('base64')}`

const identity = (token: string): Record<string, string> => (token === '' ? {} : { authorization: basic(token) })

/** One GET of a path below the hub's address. */
export async function get(hub: Hub, path: string, { token = hub.token, headers = {} }: PostOptions = {}): Promise<GitAnswer> {
  return answerOf(await fetch(`${hub.url}/${path}`, { headers: { ...identity(token), ...headers }, redirect: 'manual' }))
}

/** One POST to a service of a repository, as git sends it. A body that is a stream goes out chunked. */
export async function post(
  hub: Pick<Hub, 'url' | 'token'>,
  repo: string,
  service: 'git-upload-pack' | 'git-receive-pack',
  body: Uint8Array | AsyncIterable<Uint8Array>,
  { token = hub.token, headers = {} }: PostOptions = {},
): Promise<GitAnswer> {
  const stream = body instanceof Uint8Array ? { body: new Uint8Array(body) } : { body: ReadableStream.from(body), duplex: 'half' as const }
  return answerOf(
    await fetch(`${hub.url}/${repo}/${service}`, {
      method: 'POST',
      headers: { ...identity(token), 'content-type': `application/x-${service}-request`, ...headers },
      ...stream,
    }),
  )
}

async function answerOf(response: Response): Promise<GitAnswer> {
  const body = Buffer.from(await response.arrayBuffer())
  return { status: response.status, headers: response.headers, body, text: body.toString('latin1') }
}

export const v2 = { 'git-protocol': 'version=2' }

/** A v2 fetch of these objects with nothing in common. */
export function fetchBody(wants: readonly string[], ...more: string[]): Buffer {
  return pkts('command=fetch', 'object-format=sha1', '0001', 'ofs-delta', ...wants.map((oid) => `want ${oid}`), ...more, 'done', '0000')
}

/** A history of one commit with one file of that text, and a pack of it. */
export function history(text: string, ...parents: string[]) {
  const file = blob(text)
  const tree = treeOf(['100644', 'file', nameOf(file)])
  const commit = commitOf(nameOf(tree), ...parents)
  return { file, tree, commit, oid: nameOf(commit), pack: packOf([commit, tree, file]) }
}

/** What git sends when the objects are there already. */
export const emptyPack = packOf([])

export const create = (oid: string, name = 'refs/heads/main'): Command => [zero, oid, name]

export type Command = readonly [oldOid: string, newOid: string, name: string]

/** What stands in front of the pack of a push. */
export function pushHead(commands: readonly Command[], capabilities = plainCapabilities, options?: readonly string[]): Buffer {
  const lines = commands.map(([oldOid, newOid, name], i) => `${oldOid} ${newOid} ${name}${i === 0 ? `\0${capabilities}` : ''}`)
  return pkts(...lines, '0000', ...(options ? [...options, '0000'] : []))
}

export interface PushReport {
  readonly status: number
  /** 'ok' or why the pack was refused. */
  readonly unpack: string
  /** `ok refs/heads/x`, `ng refs/heads/x reason`. */
  readonly refs: readonly string[]
  /** All of the answer. */
  readonly text: string
}

/** A push as git frames it, its report taken apart. */
export async function push(
  hub: Hub,
  repo: string,
  commands: readonly Command[],
  pack: Uint8Array = Buffer.alloc(0),
  options: PostOptions & { readonly capabilities?: string; readonly pushOptions?: readonly string[] } = {},
): Promise<PushReport> {
  const head = pushHead(commands, options.capabilities, options.pushOptions)
  const { status, body, text } = await post(hub, repo, 'git-receive-pack', Buffer.concat([head, pack]), options)
  if (status !== 200) return { status, unpack: text.trim(), refs: [], text }
  const band1 = splitPkts(body).filter((payload) => payload[0] === 1)
  const lines = splitPkts(Buffer.concat(band1.map((payload) => payload.subarray(1)))).map((line) => line.toString('latin1').trimEnd())
  const [unpack = '', ...refs] = lines
  return { status, unpack: unpack.replace(/^unpack /, ''), refs, text }
}

/** A push of one ref in a word: what became of it, or why the pack was refused. */
export async function pushOne(hub: Hub, repo: string, pack: Uint8Array, command: Command, token = hub.token): Promise<string> {
  const { status, unpack, refs } = await push(hub, repo, [command], pack, { token })
  if (status !== 200) return `status ${status}: ${unpack}`
  return unpack === 'ok' ? refs.join(', ') : unpack
}

/** Payloads of data pkt-lines, in order. */
export function splitPkts(wire: Buffer): Buffer[] {
  const payloads: Buffer[] = []
  for (let at = 0; at + 4 <= wire.length; ) {
    const length = Number.parseInt(wire.toString('latin1', at, at + 4), 16)
    if (Number.isNaN(length)) throw new Error(`no pkt-line at ${at}: ${JSON.stringify(wire.toString('latin1', at, at + 40))}`)
    if (length > 4) payloads.push(wire.subarray(at + 4, at + length))
    at += Math.max(length, 4)
  }
  return payloads
}

/** The pack within a side-banded v2 answer to a fetch. */
export function packOfAnswer(wire: Buffer): Buffer {
  return Buffer.concat(
    splitPkts(wire)
      .filter((payload) => payload[0] === 1)
      .map((payload) => payload.subarray(1)),
  )
}

export interface RawAnswer {
  readonly text: string
  /** Status numbers of all answers that came, in order. */
  readonly statuses: readonly number[]
  /** The hub ended the connection. */
  readonly closed: boolean
}

/** A connection of one's own, for what no HTTP client would send. */
export async function openSocket(hub: Hub): Promise<Socket> {
  const { hostname, port } = new URL(hub.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {}) // resets are among what is looked at
  await once(socket, 'connect')
  return socket
}

/** Sends bytes as they are and takes what comes until the hub closes, or `quietMs` after its last byte. */
export async function sendRaw(hub: Hub, bytes: string | Uint8Array, { quietMs = 400, waitMs = 5_000 } = {}): Promise<RawAnswer> {
  const socket = await openSocket(hub)
  const chunks: Buffer[] = []
  let closed = false
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('close', () => {
    closed = true
  })
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  const started = performance.now()
  for (let seen = 0, seenAt = started; !closed && performance.now() - started < waitMs; ) {
    await delay(20)
    if (chunks.length !== seen) {
      seen = chunks.length
      seenAt = performance.now()
    } else if (seen > 0 && performance.now() - seenAt > quietMs) break
  }
  socket.destroy()
  const text = Buffer.concat(chunks).toString('latin1')
  return { text, statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1])), closed }
}

/** The head of a request as text. */
export function requestHead(hub: Hub, line: string, headers: readonly string[] = []): string {
  return [`${line} HTTP/1.1`, `Host: ${new URL(hub.url).host}`, ...headers, '', ''].join('\r\n')
}

/** Milliseconds until /healthz answered. @throws when it does not, or the process is gone */
export async function health(hub: Hub): Promise<number> {
  const started = performance.now()
  if (hub.child.exitCode !== null || hub.child.signalCode !== null) throw new Error(`the hub is gone:\n${hub.output().slice(-4000)}`)
  const response = await fetch(`${hub.url}/healthz`, { signal: AbortSignal.timeout(10_000) })
  await response.arrayBuffer()
  if (!response.ok) throw new Error(`/healthz answered ${response.status}`)
  return performance.now() - started
}

/** Resident memory of the hub, bytes. */
export async function residentBytes(hub: Pick<Hub, 'child'>): Promise<number> {
  const status = await readFile(`/proc/${hub.child.pid}/status`, 'utf8').catch(() => '')
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? (await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(hub.child.pid)])).stdout
  return Number(kilobytes) * 1024
}

/** Names of all files below a folder; none when it is not there. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}

export const spoolOf = (hub: Hub): string => join(hub.dataDirectory, 'spool')

/** Waits until it holds. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not in ${ms} ms: ${what}`)
    await delay(25)
  }
}

/** An empty model of whoever `token` is, by default admin; its path. */
export async function makeEmpty(hub: Hub, name: string, options: { owner?: string; token?: string; private?: boolean } = {}): Promise<string> {
  const { owner = 'admin', token, private: isPrivate = false } = options
  const id = `${owner}/${name}`
  const { status, body } = await hub.api('POST', '/api/cairn/repos', { type: 'model', id, empty: true, private: isPrivate }, token)
  if (status !== 200) throw new Error(`create answered ${status}: ${JSON.stringify(body)}`)
  return id
}

/** A user of that name; a token of theirs. */
export async function makeUser(hub: Hub, name: string): Promise<string> {
  await hub.api('POST', '/api/cairn/users', { name })
  const { status, body } = await hub.api('POST', `/api/cairn/users/${name}/tokens`, { name: 'test' })
  if (status !== 200) throw new Error(`token answered ${status}: ${JSON.stringify(body)}`)
  return (body as { token: string }).token
}

/** What the repository's refs are at, by name. */
export async function refsOf(hub: Hub, repo: string, token = hub.token): Promise<Readonly<Record<string, string>>> {
  const { text } = await post(hub, repo, 'git-upload-pack', pkts('command=ls-refs', '0001', '0000'), { headers: v2, token })
  return Object.fromEntries(
    splitPkts(Buffer.from(text, 'latin1')).map((line) => {
      const [oid = '', name = ''] = line.toString('latin1').trimEnd().split(' ')
      return [name, oid]
    }),
  )
}
