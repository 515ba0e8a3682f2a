import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createS3BlobStore } from '../src/storage/s3-blob-store.js'
import { stagingKey } from '../src/storage/keys.js'
import { git } from '../test/support/git.js'
import { residentBytes } from '../test/support/hostile.js'
import { startReplicas, type Replica, type Replicas } from '../test/support/replicas.js'
import { directGet } from './direct-get.js'
import { askForLarge, getNowhere, makeLargeFile, putFile, type LargeFile } from './large-file.js'
import { makeSmallRepo } from './make-small-repo.js'
import { oneCommitPushes } from './one-commit.js'
import { compare } from './small.js'
import { atLeast, atMost, type Bench, type Row } from './stage.js'
import { pairText, timed } from './timing.js'
import { load } from './wrk.js'

const rounds = 3
const smallRepository = 'outside-small.git'
/** Of the whole process while 1 GiB passes. */
const maxGrowthMB = 150

const best = (seconds: readonly number[]): number => Math.min(...seconds)

/** The hub over a PostgreSQL and a MinIO outside, beside that MinIO alone. Best of three, in turns. */
export async function* outsideBench(bench: Bench): AsyncGenerator<Row> {
  const closers: (() => unknown)[] = []
  const teardown = { teardown: (work: () => unknown) => void closers.push(work) }
  try {
    const hubs = await startReplicas(teardown, { count: 2 })
    yield* largeBytes(bench, hubs)
    yield* smallRequests(bench, hubs)
    yield* oneCommitPushes(bench, hubs, join(bench.folder, smallRepository))
  } finally {
    for (const close of closers.toReversed()) await close()
  }
  yield* directGet(bench)
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
    // Without nginx in between: it is not what is measured.
    const ask = async (operation: 'upload' | 'download', object: LargeFile) =>
      (await askForLarge(hubs, 'admin/outside', operation, object)).replace(hubs.url, replica.url)
    for (let round = 0; round < rounds; round++) {
      const object = await makeLargeFile(file)
      const key = stagingKey(`bench-${round}`)
      const put = direct.signedUrl(key, 'put', { expiresSeconds: 600 }).href
      directPuts.push((await timed(() => putFile(file, put))).seconds)
      const before = await residentBytes(replica)
      const watch = setInterval(() => void residentBytes(replica).then((now) => (grown = Math.max(grown, (now - before) / 2 ** 20))), 100)
      const upload = await ask('upload', object)
      puts.push((await timed(() => putFile(file, upload))).seconds)
      const download = await ask('download', object)
      const get = direct.signedUrl(key, 'get', { expiresSeconds: 600 }).href
      directGets.push((await timed(() => getNowhere(get))).seconds)
      gets.push((await timed(() => getNowhere(download))).seconds)
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
  const source = join(folder, smallRepository)
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
