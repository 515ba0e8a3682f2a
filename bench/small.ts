import { join } from 'node:path'
import { git } from '../test/support/git.js'
import { makeSmallRepo } from './make-small-repo.js'
import { atLeast, atMost, type Bench, type Row } from './stage.js'
import { median } from './timing.js'
import { load, type Load, type LoadRequest } from './wrk.js'

const seconds = 4
const rounds = 3

const pkt = (line: string): string => (line.length + 4).toString(16).padStart(4, '0') + line
const basic = (user: string, password: string): string => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

/** What `git clone` of the whole repository sends, without side conditions. */
function fetchBody(wants: readonly string[]): Buffer {
  const lines = ['thin-pack', 'no-progress', 'ofs-delta', ...wants.map((oid) => `want ${oid}`), 'done']
  return Buffer.from(
    `${pkt('command=fetch')}${pkt('agent=git/2.39.5')}${pkt('object-format=sha1')}0001${lines.map((line) => pkt(`${line}\n`)).join('')}0000`,
  )
}

/** The small requests that clones and idle fetches are made of, on 8 connections. */
export async function* smallBench({ folder, hub, peer }: Bench): AsyncGenerator<Row> {
  const source = join(folder, 'small.git')
  await makeSmallRepo(source)
  await git(['clone', '-q', '--mirror', source, join(peer.root, 'small.git')])
  for (const [name, visibility] of [
    ['small', 'public'],
    ['secret', 'private'],
  ]) {
    await hub.api('POST', '/api/cairn/repos', { id: `admin/${name}`, empty: true, visibility })
    await git(['push', '-q', '--mirror', hub.remote(`admin/${name}`)], { cwd: source })
  }
  const refs = (await git(['for-each-ref', '--format=%(objectname)'], { cwd: source })).stdout.toString().trim().split('\n')
  const v2 = { 'Git-Protocol': 'version=2' }
  const body = fetchBody(refs)
  const post = { ...v2, 'Content-Type': 'application/x-git-upload-pack-request' }
  const signedIn = { Authorization: basic('admin', hub.token) }
  const theirs = { Authorization: basic(peer.user, peer.password) }

  const info = await compare(
    { url: `${hub.url}/admin/small/info/refs?service=git-upload-pack`, headers: v2 },
    { url: `${peer.url}/small.git/info/refs?service=git-upload-pack`, headers: v2 },
  )
  yield atLeast('info/refs v2, small repository, 8 connections', info.ratio, 10, info.figures)
  const secret = await compare(
    { url: `${hub.url}/admin/secret/info/refs?service=git-upload-pack`, headers: { ...v2, ...signedIn } },
    { url: `${peer.url}/private/small.git/info/refs?service=git-upload-pack`, headers: { ...v2, ...theirs } },
  )
  yield atLeast('the same of a private one, by token', secret.ratio, 10, secret.figures)
  const fetched = await compare(
    { url: `${hub.url}/admin/small/git-upload-pack`, headers: post, body },
    { url: `${peer.url}/small.git/git-upload-pack`, headers: post, body },
  )
  yield atLeast('full fetch of it, 8 connections', fetched.ratio, 8, fetched.figures)
  yield atMost('  its p50', fetched.p50Ratio, 0.2, fetched.figures)
}

export interface Comparison {
  readonly ratio: number
  readonly p50Ratio: number
  readonly figures: string
}

/** In turns, so that the machine's moods weigh on both. */
export async function compare(ours: LoadRequest, theirs: LoadRequest): Promise<Comparison> {
  await load(ours, 1)
  await load(theirs, 1)
  const pairs: (readonly [Load, Load])[] = []
  for (let round = 0; round < rounds; round++) pairs.push([await load(ours, seconds), await load(theirs, seconds)])
  const of = (pick: (one: Load) => number, i: 0 | 1): number => median(pairs.map((pair) => pick(pair[i])))
  const [a, b] = [of((one) => one.perSecond, 0), of((one) => one.perSecond, 1)]
  const [p, q] = [of((one) => one.p50Ms, 0), of((one) => one.p50Ms, 1)]
  return { ratio: a / b, p50Ratio: p / q, figures: `${a.toFixed(0)}/s p50 ${p.toFixed(2)} ms, http-backend ${b.toFixed(0)}/s p50 ${q.toFixed(2)} ms` }
}
