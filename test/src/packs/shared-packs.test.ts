/** Packs that are large enough for two threads to check them together. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { makeBigRepo } from '../../../bench/make-big-repo.js'
import { createReceivePort } from '../../../src/repos/receive-push.js'
import type { RepoState } from '../../../src/db/versions.js'
import { PackWorkers } from '../../../src/packs/workers/pool.js'
import { create, largeFiles, maxBinaryBytes, openDomain, slices, type Domain } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { nameOf, packOf } from '../../support/packs.js'

const folder = t.testdir()
const source = join(folder, 'source.git')
await makeBigRepo(source, 4_000)
const rev = async (name: string) => (await git(['rev-parse', name], { cwd: source })).stdout.toString().trim()
const tip = await rev('main')
const early = await rev('main~1200')
const packed = async (args: readonly string[], ...revisions: readonly string[]) =>
  (await git(['pack-objects', '--revs', '--stdout', '-q', ...args], { cwd: source, input: Buffer.from(`${revisions.join('\n')}\n`) })).stdout
const objectsIn = (pack: Buffer): number => pack.readUInt32BE(8)

/** One push whose pack comes in pieces, now and then late. */
async function pushSlowly(domain: Domain, repo: RepoState, ref: string, oid: string, pack: Buffer, signal = new AbortController().signal) {
  const actor = { id: domain.adminId, accessVer: 1 }
  const context = { repo, actor, authorise: async () => true, signal, maxRefs: 10, maxBinaryBytes }
  const port = createReceivePort({ ...domain, largeFiles, slices }, context)
  const request = { commands: [create(ref, oid)], atomic: false, pushOptions: [] }
  const pieces = async function* () {
    for (let at = 0, i = 0; at < pack.length; i++) {
      const end = Math.min(pack.length, at + 10_000 + ((i * 7919) % 90_000))
      yield pack.subarray(at, end)
      if (i % 5 === 0) await delay(i % 20)
      at = end
    }
  }
  const staged = await port.stage(pieces(), request, { slices: slices(signal) })
  try {
    return await port.apply(staged, request, () => undefined)
  } finally {
    await staged.dispose()
  }
}

async function storedIndexes(domain: Domain): Promise<string[]> {
  const files = (await readdir(join(domain.blobDirectory, 'side'), { recursive: true })).filter((name) => name.endsWith('.idx'))
  return Promise.all(files.map(async (name) => sha256(await readFile(join(domain.blobDirectory, 'side', name)))))
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function gitIndex(pack: Buffer): Promise<string> {
  const cwd = join(folder, sha256(pack))
  await git(['init', '-q', '--bare', cwd])
  const { stdout } = await git(['index-pack', '--strict', '--stdin'], { cwd, input: pack })
  return sha256(await readFile(join(cwd, 'objects/pack', `pack-${stdout.toString().trim().split('\t')[1]}.idx`)))
}

for (const threads of [1, 2, 3]) {
  t.test(`with ${threads} threads: the index is git's, deltas by place or by name`, async (t) => {
    const workers = new PackWorkers({ size: threads })
    t.teardown(() => workers.close())
    const domain = await openDomain(t, {}, workers)
    const byPlace = await packed(['--delta-base-offset'], tip)
    t.ok(objectsIn(byPlace) > 20_000)
    t.match(await pushSlowly(domain, await domain.makeRepo('by-place'), 'refs/heads/main', tip, byPlace), [{ kind: 'ok' }])
    t.same(await storedIndexes(domain), [await gitIndex(byPlace)])
    const byName = await packed([], tip)
    t.match(await pushSlowly(domain, await domain.makeRepo('by-name'), 'refs/heads/main', tip, byName), [{ kind: 'ok' }])
    t.same((await storedIndexes(domain)).toSorted(), [await gitIndex(byPlace), await gitIndex(byName)].toSorted())
    t.equal(domain.spool.usedBytes, 0)
  })
}

t.test('a thin one, whose bases are in the repository', async (t) => {
  const workers = new PackWorkers({ size: 2 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t, {}, workers)
  const repo = await domain.makeRepo('thin')
  const first = await rev('main~2600')
  t.match(await pushSlowly(domain, repo, 'refs/heads/first', first, await packed(['--delta-base-offset'], first)), [{ kind: 'ok' }])
  const thin = await packed(['--thin', '--delta-base-offset'], tip, `^${first}`)
  t.ok(objectsIn(thin) > 15_000)
  t.match(await pushSlowly(domain, await domain.current('thin'), 'refs/heads/main', tip, thin), [{ kind: 'ok' }])
  const { siblings } = await domain.repos.repoInfo(await domain.current('thin'), { revision: 'main' })
  t.equal(siblings.length, (await git(['ls-tree', '-r', '--name-only', tip], { cwd: source })).stdout.toString().trim().split('\n').length)
})

t.test('what the helping thread finds wrong is said in the same words, and nothing is left', async (t) => {
  const workers = new PackWorkers({ size: 2 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t, {}, workers)
  const repo = await domain.makeRepo('wrong')
  const blobs = Array.from({ length: 20_000 }, (_, i) => ({ type: 3 as const, data: Buffer.from(`blob ${i} ${'x'.repeat(60)}`) }))
  const wrong = { type: 1 as const, data: Buffer.from('tree nothing\n') }
  const pack = packOf([wrong, ...blobs])
  await t.rejects(pushSlowly(domain, repo, 'refs/heads/main', nameOf(wrong), pack), { code: 'bad-object', message: new RegExp(nameOf(wrong)) })
  t.equal(domain.spool.usedBytes, 0)
})

t.test('a client that leaves in the middle frees both threads', async (t) => {
  const workers = new PackWorkers({ size: 2 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t, {}, workers)
  const repo = await domain.makeRepo('left')
  const pack = await packed(['--delta-base-offset'], early)
  for (const afterMs of [20, 60, 150]) {
    const gone = new AbortController()
    setTimeout(() => gone.abort(), afterMs)
    await t.rejects(pushSlowly(domain, repo, 'refs/heads/main', early, pack, gone.signal), { code: 'cancelled' })
    t.equal(domain.spool.usedBytes, 0)
  }
  t.match(await pushSlowly(domain, repo, 'refs/heads/main', early, pack), [{ kind: 'ok' }])
})
