import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createS3BlobStore } from '../src/storage/s3-blob-store.js'
import { stagingKey } from '../src/storage/keys.js'
import { git } from '../test/support/git.js'
import { residentBytes } from '../test/support/hostile.js'
import { startReplicas, type Replica, type Replicas } from '../test/support/replicas.js'
import { makeSmallRepo } from './make-small-repo.js'
import { compare } from './small.js'
import { atLeast, atMost, type Bench, type Row } from './stage.js'
import { pairText, timed } from './timing.js'
import { load } from './wrk.js'

const run = promisify(execFile)
const GiB = 2 ** 30
const rounds = 3
/** Of the whole process while 1 GiB passes. */
const maxGrowthMB = 150

const best = (seconds: readonly number[]): number => Math.min(...seconds)

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** The hub over a PostgreSQL and a MinIO outside, beside that MinIO alone. Best of three, in turns. */
export async function* outsideBench(bench: Bench): AsyncGenerator<Row> {
  const closers: (() => unknown)[] = []
  const teardown = { teardown: (work: () => unknown) => void closers.push(work) }
  try {
    const hubs = await startReplicas(teardown, { count: 2 })
    yield* largeBytes(bench, hubs)
    yield* smallRequests(bench, hubs)
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

async function* largeBytes({ folder }: Bench, hubs: Replicas): AsyncGenerator<Row> {
  const [replica] = hubs.replicas as readonly [Replica, ...Replica[]]
  const direct = createS3BlobStore(hubs.s3.account(hubs.bucket))
  const file = join(folder, 'outside.bin')
  const puts: number[] = []
  const directPuts: number[] = []
  const gets: number[] = []
  const directGets: number[] = []
  let grown = 0
  try {
    await hubs.api('POST', '/api/cairn/repos', { id: 'admin/outside', empty: true })
    const actions = async (operation: string, oid: string) => {
      const { body } = await hubs.api('POST', '/admin/outside.git/info/lfs/objects/batch', { operation, objects: [{ oid, size: GiB }] })
      const { actions: given } = (body as { objects: [{ actions: Record<string, { href: string }> }] }).objects[0]
      // Without nginx in between: it is not what is measured.
      return given[operation]!.href.replace(hubs.url, replica.url)
    }
    for (let round = 0; round < rounds; round++) {
      await run('bash', ['-c', `head -c ${GiB} /dev/urandom > "$1"`, 'bash', file])
      const oid = await hashOf(file)
      const key = stagingKey(`bench-${round}`)
      const put = direct.signedUrl(key, 'put', { expiresSeconds: 600 }).href
      directPuts.push((await timed(() => run('curl', ['-sS', '--fail', '-T', file, '-H', 'Expect:', put]))).seconds)
      const before = await residentBytes(replica)
      const watch = setInterval(() => void residentBytes(replica).then((now) => (grown = Math.max(grown, (now - before) / 2 ** 20))), 100)
      const upload = await actions('upload', oid)
      puts.push((await timed(() => run('curl', ['-sS', '--fail', '-T', file, '-H', 'Expect:', upload]))).seconds)
      const download = await actions('download', oid)
      const get = direct.signedUrl(key, 'get', { expiresSeconds: 600 }).href
      directGets.push((await timed(() => run('curl', ['-sS', '--fail', '-o', '/dev/null', get]))).seconds)
      gets.push((await timed(() => run('curl', ['-sS', '--fail', '-o', '/dev/null', download]))).seconds)
      clearInterval(watch)
      await direct.delete(key)
    }
  } finally {
    await direct.close()
    await rm(file, { force: true })
  }
  yield atLeast('1 GiB GET through the hub, against the same MinIO', best(directGets) / best(gets), 0.4, pairText(gets, directGets))
  yield atLeast('1 GiB PUT through the hub, against the same MinIO', best(directPuts) / best(puts), 0.6, pairText(puts, directPuts))
  yield {
    what: '  memory of the hub meanwhile',
    ratio: `${grown.toFixed(0)} MB`,
    goal: `< ${maxGrowthMB} MB`,
    ok: grown < maxGrowthMB,
    figures: 'while 1 GiB goes in and comes out, three times',
  }
}

async function* smallRequests({ folder, peer }: Bench, hubs: Replicas): AsyncGenerator<Row> {
  const source = join(folder, 'outside-small.git')
  await makeSmallRepo(source)
  await git(['clone', '-q', '--mirror', source, join(peer.root, 'outside.git')])
  await hubs.api('POST', '/api/cairn/repos', { id: 'admin/small', empty: true })
  await git(['push', '-q', '--mirror', hubs.remote('admin/small')], { cwd: source })
  const v2 = { 'Git-Protocol': 'version=2' }
  const info = await compare(
    { url: `${hubs.replicas[0]!.url}/admin/small/info/refs?service=git-upload-pack`, headers: v2 },
    { url: `${peer.url}/outside.git/info/refs?service=git-upload-pack`, headers: v2 },
  )
  yield atLeast('info/refs v2 with a database outside, 8 connections', info.ratio, 8, info.figures)

  const processorSeconds = async (replicas: readonly Replica[]) => {
    const each = await Promise.all(replicas.map(async ({ child }) => (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')))
    return each.reduce((sum, fields) => sum + (Number(fields[11]) + Number(fields[12])) / 100, 0)
  }
  /** As busy each as the other: a hub asks the database once for all that came in one tick. */
  const perRequest = async (replicas: readonly Replica[]): Promise<number> => {
    const seconds = 3
    const before = await processorSeconds(replicas)
    const loads = await Promise.all(
      replicas.map(({ url }) => load({ url: `${url}/admin/small/info/refs?service=git-upload-pack`, headers: v2 }, seconds)),
    )
    const requests = loads.reduce((sum, { perSecond }) => sum + perSecond * seconds, 0)
    return (((await processorSeconds(replicas)) - before) / requests) * 1000
  }
  await perRequest(hubs.replicas)
  const one: number[] = []
  const two: number[] = []
  for (let round = 0; round < rounds; round++) {
    one.push(await perRequest(hubs.replicas.slice(0, 1)))
    two.push(await perRequest(hubs.replicas))
  }
  yield atMost(
    'processor time a request, two replicas against one',
    best(two) / best(one),
    1.1,
    `${two.map((ms) => ms.toFixed(3)).join(' ')} ms, one ${one.map((ms) => ms.toFixed(3)).join(' ')} ms`,
  )
}
