import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { oidBytes } from '../../../protocol/oid.js'
import type { Oid } from '../../../protocol/types.js'
import { listCollectCandidates, removeRetiredPacks } from '../../../src/db/packs.js'
import { sql } from '../../../src/db/sql.js'
import { findPointers } from '../../../src/packs/find-pointers.js'
import { findPair } from '../../../src/packs/pack-pair.js'
import { closureOf, collectBlobs, duplicate, storedObjects } from '../../support/copies.js'
import { cloneObjects, collecting, meanwhile, packRows, pushed, pushMany } from '../../support/collections.js'
import { create, move, never, openDomain, remove, type Domain } from '../../support/domain.js'
import { pushHistory } from '../../support/stored-repo.js'

const options = { signal: never }
/** Too large for a pack in the database. */
const noise = () => randomBytes(200_000)

const refsOf = async (domain: Domain, repoId: number): Promise<string[]> => {
  const rows = await domain.db.query<{ name: Buffer; oid: Buffer; peeled: Buffer | null }>(
    sql`SELECT name, oid, peeled FROM refs WHERE repo_id = ${repoId} ORDER BY name`,
  )
  return rows.map(({ name, oid, peeled }) => `${oid.toString('hex')}${peeled ? `^${peeled.toString('hex')}` : ''} ${name.toString()}`)
}
const blobsIn = async (domain: Domain): Promise<number> => {
  const [row] = await domain.db.query<{ n: number }>(sql`SELECT count(*) AS n FROM stored_blob`)
  return row!.n
}
const isThere = async (domain: Domain, repoId: number, oid: string): Promise<boolean> => {
  const view = await domain.packs.openSnapshot(repoId)
  view.release()
  return view.find(oidBytes(oid as Oid), 'read') !== -1
}

t.test('branches, tags and what was converted come along, and nothing else; HEAD is where it was', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'source', 3, t.testdir())
  const convert = await work.commit({ parquet: 'rows' })
  const proposed = await work.commit({ secret: 'proposed' })
  const hidden = await work.commit({ secret: 'hidden' })
  await pushed(domain, repo, { commands: [create('refs/heads/dev', last), remove('refs/heads/none', last)] })
  await pushed(domain, repo, { commands: [create('refs/convert/parquet', convert)], pack: await work.pack(convert, `^${last}`) })
  await pushed(domain, repo, { commands: [create('refs/pr/1', proposed)], pack: await work.pack(proposed, `^${convert}`) })
  await pushed(domain, repo, { commands: [create('refs/internal/x', hidden)], pack: await work.pack(hidden, `^${proposed}`) })
  await domain.db.execute(sql`UPDATE repositories SET head_ref = 'refs/heads/dev', refs_ver = refs_ver + 1 WHERE id = ${repo.id}`)
  const copy = await duplicate(domain, await domain.current('source'), 'copy')
  t.match(copy, { namespace: 'admin', name: 'copy', visibility: 'public', headRef: 'refs/heads/dev', gated: null })
  t.same(await refsOf(domain, copy.id), [`${convert} refs/convert/parquet`, `${last} refs/heads/dev`, `${last} refs/heads/main`])
  t.match(await packRows(domain, copy.id), [{ source: 'copy', class: 0, state: 'live', external: false, part: null }])
  t.same(await storedObjects(domain, copy.id), await closureOf(work.cwd, convert))
  t.equal(copy.bytes, (await packRows(domain, copy.id))[0]!.bytes)
  t.match(await domain.db.query(sql`SELECT action, details FROM audit WHERE repo_id = ${copy.id}`), [
    { action: 'repo.duplicate', details: { refs: 3, source: { id: repo.id, name: 'admin/source' }, sharedPacks: 0 } },
  ])
  t.same(await domain.db.query(sql`SELECT kind FROM outbox WHERE repo_id = ${copy.id}`), [{ kind: 'refs-updated' }])
})

t.test('an annotated tag still says what it peels to; a repository without a commit becomes another one', async (t) => {
  const domain = await openDomain(t)
  const source = join(t.testdir(), 'source')
  const repo = await pushHistory(domain, 'tagged', 30, source)
  const copy = await duplicate(domain, repo, 'tagged-copy')
  const refs = await refsOf(domain, repo.id)
  t.ok(refs.length > 1)
  t.same(await refsOf(domain, copy.id), refs)
  t.equal(await cloneObjects(domain, copy.id, join(t.testdirName, 'copied')), await cloneObjects(domain, repo.id, join(t.testdirName, 'original')))
  const empty = await duplicate(domain, await domain.makeRepo('empty'), 'empty-copy')
  t.same([await refsOf(domain, empty.id), await packRows(domain, empty.id), empty.bytes], [[], [], 0])
})

t.test('packs that hold just that are shared, with what lies beside them: rows and links, and no byte', async (t) => {
  const domain = await openDomain(t)
  const bare = join(t.testdir(), 'source')
  const repo = await pushHistory(domain, 'collected', 1_200, bare)
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, options)).outcome, 'collected')
  const before = await blobsIn(domain)
  const copy = await duplicate(domain, repo, 'shares')
  t.equal(await blobsIn(domain), before)
  t.match(await packRows(domain, copy.id), [
    { source: 'gc', class: 0, part: 'meta', state: 'live' },
    { source: 'gc', class: 0, part: 'blobs', state: 'live' },
  ])
  const linksOf = (repoId: number) =>
    domain.db.query(
      sql`SELECT l.key, l.kind FROM blob_link l JOIN packs p ON p.id = l.pack_id WHERE p.repo_id = ${repoId} AND p.state = 'live' ORDER BY 1`,
    )
  t.same(await linksOf(copy.id), await linksOf(repo.id))
  t.equal((await linksOf(copy.id)).length, 11, 'four blobs a pack, and three files beside the first')
  t.same(await storedObjects(domain, copy.id), await closureOf(bare, '--all'))
  const view = await domain.packs.openSnapshot(copy.id)
  t.ok(findPair(view))
  t.ok(view.packs.every(({ sideFiles, part }) => (part === 'meta') === (sideFiles !== null)))
  view.release()
  t.notOk(
    (await listCollectCandidates(domain.db, { restMs: 86_400_000, garbageMs: 86_400_000 })).includes(copy.id),
    'there is nothing to put in order',
  )
  t.equal((await collecting(domain, { splitBytes: 1 })(copy.id, options)).outcome, 'unchanged')
  const again = await duplicate(domain, copy, 'shares-again')
  t.equal(await blobsIn(domain), before, 'a copy of a copy')
  await cloneObjects(domain, again.id, join(t.testdirName, 'clone'))
})

t.test('a pack that a single push brought is shared when it is all there is', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'one', 1, t.testdir())
  const large = await work.commit({ noise: noise() })
  const other = await domain.makeRepo('single')
  await pushed(domain, other, { commands: [create('refs/heads/main', large)], pack: await work.pack(large) })
  const before = await blobsIn(domain)
  const copy = await duplicate(domain, other, 'single-copy')
  t.match(await packRows(domain, copy.id), [{ source: 'receive', class: 0, external: false }])
  t.equal(await blobsIn(domain), before)
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, large)], pack: await work.pack(large, `^${last}`) })
  const mixed = await duplicate(domain, repo, 'mixed')
  t.match(await packRows(domain, mixed.id), [{ source: 'copy' }], 'some of it is in the database: all is written anew')
  t.same(await storedObjects(domain, mixed.id), await closureOf(work.cwd, large))
})

t.test('what was proposed, hidden or force-pushed away never lies in a copy, before or after a collection', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'leaky', 2, t.testdir())
  const clean = await work.commit({ noise: noise() })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, clean)], pack: await work.pack(clean, `^${last}`) })
  const secrets: string[] = []
  for (const [i, name] of ['refs/heads/main', 'refs/pr/1', 'refs/internal/x'].entries()) {
    await work.reset(clean)
    const oops = await work.commit({ secret: noise(), [`s${i}`]: `secret ${i}` })
    const secret = [create(name, oops), move(name, clean, oops)][name === 'refs/heads/main' ? 1 : 0]!
    await pushed(domain, repo, { commands: [secret], pack: await work.pack(oops, `^${clean}`) })
    secrets.push(oops, await work.rev(`${oops}:secret`), await work.rev(`${oops}:s${i}`))
    if (name === 'refs/heads/main') await pushed(domain, repo, { commands: [move(name, oops, clean)] })
  }
  const expected = await closureOf(work.cwd, clean)
  const check = async (name: string) => {
    const copy = await duplicate(domain, await domain.current('leaky'), name)
    for (const secret of secrets) t.equal(await isThere(domain, copy.id, secret), false, `${name}: ${secret}`)
    t.same(await storedObjects(domain, copy.id), expected, name)
    return packRows(domain, copy.id)
  }
  for (const secret of secrets) t.equal(await isThere(domain, repo.id, secret), true)
  t.match(await check('before'), [{ source: 'copy' }])
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, options)).outcome, 'collected')
  t.match(await check('after'), [{ source: 'copy' }], 'of the two packs the first is small, and in the database')
  const one = await domain.makeRepo('leaky-2')
  await pushed(domain, one, { commands: [create('refs/heads/main', clean)], pack: await work.pack(clean) })
  await pushed(domain, one, { commands: [create('refs/pr/1', secrets[0]!)], pack: await work.pack(secrets[0]!, `^${clean}`) })
  const shared = await duplicate(domain, one, 'leaky-2-copy')
  t.match(await packRows(domain, shared.id), [{ source: 'receive' }], 'shared, without the pack of the proposal')
  t.same(await storedObjects(domain, shared.id), expected)
  const whole = await domain.makeRepo('leaky-3')
  await pushed(domain, whole, {
    commands: [create('refs/heads/main', clean), create('refs/pr/1', secrets[0]!)],
    pack: await work.pack(clean, secrets[0]!),
  })
  const rewritten = await duplicate(domain, whole, 'leaky-3-copy')
  t.match(await packRows(domain, rewritten.id), [{ source: 'copy' }], 'one pack held both')
  t.same(await storedObjects(domain, rewritten.id), expected)
  t.equal((await collecting(domain)(whole.id, options)).outcome, 'collected')
  const collected = await duplicate(domain, whole, 'leaky-3-again')
  t.match(await packRows(domain, collected.id), [{ source: 'gc', class: 0 }], 'a collection parted them')
  t.same(await storedObjects(domain, collected.id), expected)
})

/** A repository of one branch in one stored pack that a collection made, and what a leak in it was. */
async function leaked(t: { testdir(): string }, domain: Domain, name: string) {
  const { repo, work, last } = await pushMany(domain, name, 1, t.testdir())
  const clean = await work.commit({ noise: noise() })
  const oops = await work.commit({ secret: noise() })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, oops)], pack: await work.pack(oops, `^${last}`) })
  await collecting(domain)(repo.id, options)
  const takeBack = () => pushed(domain, repo, { commands: [move('refs/heads/main', oops, clean)] })
  /** Has a part of it be in the database. */
  const pushSmall = async () => {
    await work.reset(clean)
    const small = await work.commit({ small: name })
    await pushed(domain, repo, { commands: [create('refs/heads/small', small)], pack: await work.pack(small, `^${clean}`) })
    return small
  }
  return { repo, work, clean, oops, secret: await work.rev(`${oops}:secret`), takeBack, pushSmall }
}

/** A commit on the only branch, and a collection, after which the packs there were are out of use. */
async function moveOn(domain: Domain, { repo, work }: Pick<Awaited<ReturnType<typeof leaked>>, 'repo' | 'work'>, from: string): Promise<string> {
  const next = await work.commit({ more: noise() })
  await pushed(domain, repo, { commands: [move('refs/heads/main', from, next)], pack: await work.pack(next, `^${from}`) })
  const { outcome } = await collecting(domain)(repo.id, options)
  if (outcome !== 'collected') throw new Error(outcome)
  return next
}

const removeRetired = (domain: Domain): Promise<number> => domain.db.transaction((tx) => removeRetiredPacks(tx, 0, 1_000))
const purging = (domain: Domain) => collecting(domain, { retentionMs: 0 })

t.test('what is purged while it is copied is not in the copy', async (t) => {
  const domain = await openDomain(t)
  for (const way of ['shared', 'written anew'] as const) {
    const { repo, work, clean, secret, takeBack, pushSmall } = await leaked(t, domain, `purged-${way.length}`)
    const tip = way === 'shared' ? clean : await pushSmall()
    let happened = 0
    const happen = async () => {
      happened += 1
      await takeBack()
      t.equal((await purging(domain)(repo.id, { ...options, purge: true })).outcome, 'collected')
      await collectBlobs(domain)
    }
    const copy = await duplicate(domain, repo, `copy-${way.length}`, {
      packs: way === 'shared' ? domain.packs : meanwhile(domain.packs, happen),
      findPointers: async (...args) => {
        if (way === 'shared' && happened === 0) await happen()
        return findPointers(...args)
      },
    })
    t.equal(happened, 1)
    t.equal(await isThere(domain, copy.id, secret), false, way)
    t.same(await storedObjects(domain, copy.id), await closureOf(work.cwd, tip), way)
  }
})

t.test('a purge of the source takes nothing from what a copy leads to, and one of the copy nothing from the source', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, clean, oops, secret, takeBack } = await leaked(t, domain, 'first')
  const copy = await duplicate(domain, repo, 'second')
  t.match(await packRows(domain, copy.id), [{ source: 'gc' }], 'it is the same stored pack')
  await takeBack()
  await purging(domain)(repo.id, { ...options, purge: true })
  await collectBlobs(domain)
  t.equal(await isThere(domain, repo.id, secret), false)
  t.equal(await isThere(domain, copy.id, secret), true, 'its own branch leads there')
  t.same(await storedObjects(domain, copy.id), await closureOf(work.cwd, oops))
  const third = await duplicate(domain, copy, 'third')
  await pushed(domain, copy, { commands: [move('refs/heads/main', oops, clean)] })
  t.equal((await purging(domain)(copy.id, { ...options, purge: true })).outcome, 'collected')
  await collectBlobs(domain)
  t.equal(await isThere(domain, copy.id, secret), false)
  t.same(await storedObjects(domain, third.id), await closureOf(work.cwd, oops))
  await pushed(domain, third, { commands: [move('refs/heads/main', oops, clean)] })
  await purging(domain)(third.id, { ...options, purge: true })
  t.ok((await collectBlobs(domain)) >= 4, 'once nothing needs the stored pack it goes')
  for (const id of [repo.id, copy.id, third.id]) await cloneObjects(domain, id, join(t.testdirName, `clone-${id}`))
})

t.test('packs that go out of use, and their rows, while they are copied: what is there by then is copied', async (t) => {
  const domain = await openDomain(t)
  const made = await leaked(t, domain, 'busy')
  const { repo, work, oops } = made
  const tips: string[] = []
  let looked = 0
  const copy = await duplicate(domain, repo, 'busy-copy', {
    findPointers: async (...args) => {
      if (looked++ === 0) {
        tips.push(await moveOn(domain, made, oops))
        t.ok((await removeRetired(domain)) > 0)
        t.ok((await collectBlobs(domain)) >= 4)
      }
      return findPointers(...args)
    },
  })
  t.equal(looked, 2)
  const expected = await closureOf(work.cwd, tips[0]!)
  t.same(await storedObjects(domain, copy.id), expected)
  t.equal(await removeRetired(domain), 0)
  await moveOn(domain, made, tips[0]!)
  t.ok((await removeRetired(domain)) > 0)
  await domain.repos.deleteRepo(await domain.current('busy'), { id: domain.adminId, name: 'admin', accessVer: 1 })
  await collectBlobs(domain)
  t.same(await storedObjects(domain, copy.id), expected, 'with the source gone, too')
})

t.test('packs that go out of use alone are still copied: their bytes are there', async (t) => {
  const domain = await openDomain(t)
  const made = await leaked(t, domain, 'moved-on')
  const { repo, work, oops } = made
  let looked = 0
  const copy = await duplicate(domain, repo, 'moved-on-copy', {
    findPointers: async (...args) => {
      looked += 1
      await moveOn(domain, made, oops)
      await collectBlobs(domain)
      return findPointers(...args)
    },
  })
  t.equal(looked, 1)
  t.ok((await removeRetired(domain)) > 0)
  await collectBlobs(domain)
  t.same(await storedObjects(domain, copy.id), await closureOf(work.cwd, oops), 'the branch as it was when it was looked at')
})

t.test('who may no longer read the source, or it is deleted: there is no copy, and nothing says there was a source', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await leaked(t, domain, 'private')
  const when = (happen: () => Promise<unknown>) => {
    let happened: Promise<unknown> | undefined
    return {
      findPointers: async (...args: Parameters<typeof findPointers>) => {
        await (happened ??= happen())
        return findPointers(...args)
      },
    }
  }
  const moveAccess = () => domain.db.execute(sql`UPDATE repositories SET access_ver = access_ver + 1 WHERE id = ${repo.id}`)
  const notFound = { code: 'repo-not-found', message: 'Repository not found' }
  await t.rejects(duplicate(domain, repo, 'a', { authorise: async () => false, ...when(moveAccess) }), notFound)
  let asked = 0
  const authorise = async () => {
    asked += 1
    return true
  }
  const now = (await domain.versions.repoById(repo.id))!
  t.equal((await duplicate(domain, now, 'b', { authorise, ...when(moveAccess) })).name, 'b')
  t.equal(asked, 1)
  const raise = () => domain.db.execute(sql`UPDATE namespaces SET access_ver = access_ver + 1 WHERE id = ${domain.adminId}`)
  const again = (await domain.versions.repoById(repo.id))!
  await t.rejects(duplicate(domain, again, 'c', { authorise: async () => false, ...when(raise) }), { code: 'forbidden' })
  await t.rejects(
    duplicate(
      domain,
      again,
      'd',
      when(() => domain.repos.deleteRepo(again, { id: domain.adminId, name: 'admin', accessVer: 1 })),
    ),
    notFound,
  )
  for (const name of ['a', 'c', 'd']) t.equal(await domain.current(name), undefined, name)
})

t.test('of two who make the same name one gets it; a name that is taken stays', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await leaked(t, domain, 'wanted')
  const both = await Promise.allSettled([duplicate(domain, repo, 'name'), duplicate(domain, repo, 'NAME')])
  t.same(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  t.match(
    both.find(({ status }) => status === 'rejected'),
    { reason: { code: 'already-exists', message: 'You already created this model repo' } },
  )
  await t.rejects(duplicate(domain, repo, 'wanted'), { code: 'already-exists' })
})

t.test('a client that leaves stops it, and nothing is left', async (t) => {
  const domain = await openDomain(t)
  const { repo, pushSmall } = await leaked(t, domain, 'left')
  await pushSmall()
  const before = await blobsIn(domain)
  for (const where of ['writing', 'looking']) {
    const gone = new AbortController()
    const packs = meanwhile(domain.packs, async () => gone.abort())
    const slices = () => ({
      signal: gone.signal,
      pause() {
        gone.abort()
        gone.signal.throwIfAborted()
        return undefined
      },
    })
    await t.rejects(duplicate(domain, repo, `left-${where}`, { signal: gone.signal, ...(where === 'writing' ? { packs } : { slices }) }))
    t.equal(await domain.current(`left-${where}`), undefined)
    t.equal(domain.spool.usedBytes, 0)
    t.equal(await blobsIn(domain), before)
  }
})

t.test('a pack that came thin is shared with the bases it was completed with, which another has as well', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, oops } = await leaked(t, domain, 'thin')
  const next = await work.commit({ more: noise() })
  await pushed(domain, repo, { commands: [move('refs/heads/main', oops, next)], pack: await work.pack(next, `^${oops}`) })
  const copy = await duplicate(domain, (await domain.versions.repoById(repo.id))!, 'thin-copy')
  const [stored, closure] = [await storedObjects(domain, copy.id), await closureOf(work.cwd, next)]
  t.same([...new Set(stored)], closure)
  t.equal(stored.length, closure.length + 1)
})

t.test('many at once, while the source is pushed to, collected and purged: none waits for another for ever', async (t) => {
  const domain = await openDomain(t)
  const made = await leaked(t, domain, 'popular')
  const tips = [made.oops]
  const change = async () => {
    for (let i = 0; i < 4; i++) {
      tips.push(await moveOn(domain, made, tips.at(-1)!))
      if (i % 2 === 1) await purging(domain)(made.repo.id, { ...options, purge: true })
      await removeRetired(domain)
      await collectBlobs(domain)
    }
  }
  const copying = Array.from({ length: 6 }, async (_, i) => {
    const copies = []
    for (let n = 0; n < 3; n++) {
      const source = (await domain.versions.repoById(made.repo.id))!
      copies.push(await duplicate(domain, source, `popular-${i}-${n}`))
    }
    return copies
  })
  const [copies] = await Promise.all([Promise.all(copying), change()])
  for (const { id } of copies.flat()) {
    const [main] = await refsOf(domain, id)
    t.ok(tips.some((tip) => main === `${tip} refs/heads/main`))
    // One that is made before its source was collected has what thin packs were completed with twice.
    t.same([...new Set(await storedObjects(domain, id))], await closureOf(made.work.cwd, main!.slice(0, 40)))
  }
})
