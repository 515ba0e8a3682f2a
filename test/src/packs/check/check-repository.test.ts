/** Packs of a store without files: what this hub has of them in its cache is put back. And what the parts of a repair are made of. */
import { randomBytes } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Oid } from '../../../../protocol/types.js'
import { listAllPacks, reviveAsGarbage, type AnyPackRow } from '../../../../src/db/all-packs.js'
import { stepRepository } from '../../../../src/db/repositories.js'
import { createKeeper } from '../../../../src/kept/keep.js'
import { checkRepository, type BlobFault, type PackFinding } from '../../../../src/packs/check/check-repository.js'
import { classify } from '../../../../src/packs/collect/classify.js'
import { visibilityClass } from '../../../../src/repos/ref-changes.js'
import type { BlobKey } from '../../../../src/storage/blob-store.js'
import { packKey, sidecarKey } from '../../../../src/storage/keys.js'
import { oneChunk } from '../../../../src/storage/whole-bytes.js'
import { cloneObjects, collecting, meanwhile, pushed, pushMany } from '../../../support/collections.js'
import { create, never, openDomain, remove, slices, workTree, type Domain } from '../../../support/domain.js'

const hashOf = ({ sha256 }: AnyPackRow) => sha256.toString('hex')

/** A repository of one pack that is a file, and what checks it. */
async function openOne(t: Test) {
  const domain = await openDomain(t, { cacheBytes: 2 ** 30 })
  const { watched, cache } = domain.remote!
  const repo = await domain.makeRepo('one')
  const work = await workTree(t.testdir())
  const oid = await work.commit({ f: randomBytes(200_000) })
  await pushed(domain, repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const [pack] = await listAllPacks(domain.db, repo.id)
  const { store } = watched
  ;(await cache.lease([pack!])).release()
  const check = async (damage: Readonly<Record<BlobKey, BlobFault['kind']>>, options: { repair?: boolean; signal?: AbortSignal } = {}) => {
    const damaged = new Map(Object.entries(damage).map(([key, kind]) => [key as BlobKey, { kind }]))
    const found: PackFinding[] = []
    const deps = { ...domain, store, keeper: createKeeper({ db: domain.db, store }), localPacks: cache, classify, slices, visibilityClass }
    const checked = checkRepository({ ...deps, collectPacks: collecting(domain) }, repo.id, {
      damaged,
      hash: true,
      repair: true,
      signal: never,
      figures: { packs: 0, objects: 0 },
      ...options,
    })
    for await (const finding of checked) found.push(finding)
    return found
  }
  const path = join(domain.blobDirectory, packKey(pack!.sha256))
  return { domain, repo, store, cache, pack: pack!, check, key: packKey(pack!.sha256), path }
}

t.test('a pack that is gone or another in the store comes back from the cache', async (t) => {
  const { domain, repo, pack, check, key, path } = await openOne(t)
  const before = await readFile(path)
  for (const kind of ['missing', 'bytes'] as const) {
    if (kind === 'missing') await rm(path)
    else await writeFile(path, randomBytes(before.length))
    const says = `pack ${hashOf(pack)} (receive) ${kind === 'missing' ? 'is not in the store' : 'has other bytes than were stored'}`
    t.same(await check({ [key]: kind }), [{ about: 'pack', state: 'repaired', says: `${says}: put back from the cache` }])
    t.ok((await readFile(path)).equals(before))
  }
  t.same(await check({}), [])
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'clone')), /[0-9a-f]{40}/)
})

t.test('a file in the cache that is not the pack is no help', async (t) => {
  const { cache, pack, check, key, path } = await openOne(t)
  await rm(path)
  await writeFile(cache.pathOf(pack.sha256), randomBytes(pack.bytes))
  t.match(await check({ [key]: 'missing' }), [
    { about: 'pack', state: 'left', says: / is not in the store: it is nowhere else/ },
    { about: 'refs', state: 'left', says: /^refs\/heads\/main leads to what is not there: object [0-9a-f]{40} is missing$/ },
  ])
  await t.rejects(readFile(path), { code: 'ENOENT' }, 'nothing that is wrong is stored')
})

t.test('without repair nothing is put back', async (t) => {
  const { check, key, path } = await openOne(t)
  await rm(path)
  t.match(await check({ [key]: 'missing' }, { repair: false }), [{ about: 'pack', state: 'left', says: /: can be put back from the cache$/ }])
  await t.rejects(readFile(path), { code: 'ENOENT' })
})

t.test('a sidecar that cannot be made anew shows that its pack is lost', async (t) => {
  const { cache, pack, check, path } = await openOne(t)
  await rm(cache.pathOf(pack.sha256))
  await writeFile(path, randomBytes(pack.bytes))
  const found = await check({ [sidecarKey(pack.idxSha256!, 'idx')]: 'missing' })
  t.match(found, [
    { about: 'pack', state: 'left', says: / has other bytes than were stored: it is nowhere else/ },
    { about: 'refs', state: 'left' },
  ])
})

t.test('what is made anew has the very names that were stored, and only of the pack that was stored', async (t) => {
  const { domain, store, pack } = await openOne(t)
  const work = { slices: slices(), signal: never }
  const made = await domain.packs.reindex(pack, await store.open(packKey(pack.sha256)), work)
  t.ok(Buffer.concat([pack.idxSha256!, pack.revSha256!, pack.tblSha256!]).equals(Buffer.from(made.names)))
  await t.rejects(domain.packs.reindex(pack, oneChunk(randomBytes(pack.bytes)), work), { code: 'corrupt' })
  await t.rejects(domain.packs.reindex(pack, oneChunk(randomBytes(10)), work), { code: 'corrupt' })
  const left = new AbortController()
  left.abort()
  await t.rejects(domain.packs.reindex(pack, oneChunk(randomBytes(10)), { ...work, signal: left.signal }), { code: 'cancelled' })
  t.equal(domain.spool.usedBytes, 0)
  t.equal(domain.packs.usage().ingestBytes, 0)
})

t.test('who has left hears nothing more', async (t) => {
  const { check } = await openOne(t)
  const left = new AbortController()
  left.abort(new Error('gone'))
  await t.rejects(check({}, { signal: left.signal }), { message: 'gone' })
})

/** As a repair has packs be read again that were out of use. */
async function revive({ db }: Domain, repoId: number): Promise<void> {
  const ids = (await listAllPacks(db, repoId)).filter(({ state }) => state === 'retired').map(({ id }) => id)
  await db.transaction(async (tx) => {
    const [row] = await tx.query<{ packs_ver: number }>({
      text: 'SELECT packs_ver FROM repositories WHERE id = $1 FOR NO KEY UPDATE',
      values: [repoId],
    })
    await reviveAsGarbage(tx, repoId, ids, row!.packs_ver + 1)
    await stepRepository(tx, repoId, { refsChanged: false, packsChanged: true, addedBytes: 0 })
  })
}

t.test('a purge that a repair gets in the way of leaves nothing of what had to go', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'purged', 3, t.testdir())
  const secret = await work.commit({ secret: 'secret' })
  await pushed(domain, repo, { commands: [create('refs/heads/side', secret)], pack: await work.pack(secret, `^${last}`) })
  await pushed(domain, repo, { commands: [remove('refs/heads/side', secret)] })
  t.equal((await collecting(domain)(repo.id, { signal: never })).outcome, 'collected')
  const more = await work.commit({ more: 'more' })
  await pushed(domain, repo, { commands: [create('refs/heads/more', more)], pack: await work.pack(more, `^${last}`) })
  const overtaken = collecting(domain, { packs: meanwhile(domain.packs, () => revive(domain, repo.id)) })
  const purge = { purge: true, mustGo: [secret as Oid], signal: never }
  await pushed(domain, repo, { commands: [remove('refs/heads/more', more)] })
  t.equal((await overtaken(repo.id, purge)).outcome, 'moved-on')
  t.equal((await collecting(domain)(repo.id, purge)).outcome, 'collected')
  const view = await domain.packs.openSnapshot(repo.id)
  t.equal(view.find(Buffer.from(secret, 'hex'), 'read'), -1)
  view.release()
  t.same(
    (await listAllPacks(domain.db, repo.id)).map(({ state }) => state),
    ['live'],
  )
})
