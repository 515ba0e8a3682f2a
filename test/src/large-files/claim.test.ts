import t from 'tap'
import type { LfsOid } from '../../../lfs/types.js'
import { anonymous, type Actor } from '../../../src/auth/actor.js'
import { may } from '../../../src/auth/authorize.js'
import { sql } from '../../../src/db/sql.js'
import { ageLink, insertOwner, insertRepo, linkOf, newContent, oidOf, openLargeFiles, pieces, uploadOf } from '../../support/large-objects.js'
import { holdTransaction, untilWaiting } from '../../support/stored-blobs.js'

/*
 * What becomes of a claim, by the state of the object and by who asks: the one place where bytes of others might be had for nothing.
 */

const { db, largeFiles } = await openLargeFiles(t)
const [ann, bob, root] = [await insertOwner(db), await insertOwner(db), await insertOwner(db)]

const actorOf = (id: number, role: 'read' | 'write', isAdmin = false): Actor =>
  ({ kind: 'user', id, name: `user${id}`, isAdmin, token: { id: 1, name: 't', role } }) as unknown as Actor
const callers = {
  ann: actorOf(ann, 'write'),
  'ann, to read': actorOf(ann, 'read'),
  bob: actorOf(bob, 'write'),
  admin: actorOf(root, 'write', true),
  nobody: anonymous,
} as const
type Caller = keyof typeof callers

async function stored(repoId: number, content: string = newContent()): Promise<{ content: string; oid: LfsOid; size: number }> {
  await largeFiles.receive(uploadOf(content, { repoId, actorId: ann }), pieces(content))
  return { content, oid: oidOf(content), size: Buffer.byteLength(content) }
}

/** Brings an object into a state, as seen from the repository `here`. */
const states: Readonly<Record<string, (here: number) => Promise<{ oid: LfsOid; size: number }>>> = {
  'linked here': (here) => stored(here),
  'linked here, marked as unused': async (here) => {
    const object = await stored(here)
    await db.execute(sql`UPDATE repo_large_object SET unlinked_at = now() WHERE sha256 = decode(${object.oid}, 'hex')`)
    return object
  },
  'linked in a public repository of bob': async () => stored(await insertRepo(db, bob, { visibility: 'public' })),
  'linked in a gated repository of bob': async () => stored(await insertRepo(db, bob, { visibility: 'public', gated: 'auto' })),
  'linked in a disabled repository of ann': async () => {
    const repoId = await insertRepo(db, ann)
    await db.execute(sql`UPDATE repositories SET disabled = true WHERE id = ${repoId}`)
    return stored(repoId)
  },
  'linked in a private repository of ann': async () => stored(await insertRepo(db, ann)),
  'linked in a private repository of bob': async () => stored(await insertRepo(db, bob)),
  'linked in private repositories of both': async () => {
    const { content } = await stored(await insertRepo(db, bob))
    return stored(await insertRepo(db, ann), content)
  },
  'linked in a deleted public repository': async () => {
    const repoId = await insertRepo(db, ann, { visibility: 'public' })
    const object = await stored(repoId)
    await db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${repoId}`)
    return object
  },
  'there, and linked nowhere': async () => {
    const object = await stored(await insertRepo(db, ann))
    await db.execute(sql`DELETE FROM repo_large_object WHERE sha256 = decode(${object.oid}, 'hex')`)
    return object
  },
  'its bytes are stored, and it was never finished': async () => {
    const object = await stored(await insertRepo(db, ann))
    for (const table of ['repo_large_object', 'representation', 'large_object']) {
      await db.execute({ text: `DELETE FROM ${table} WHERE sha256 = decode($1, 'hex')`, values: [object.oid] })
    }
    return object
  },
  unknown: async () => {
    const content = newContent()
    return { oid: oidOf(content), size: Buffer.byteLength(content) }
  },
}

/** had: linked before. linked: by the claim. send: the bytes are asked for, and nothing changed. */
const answers: readonly [state: string, by: Readonly<Record<Caller, 'had' | 'linked' | 'send'>>][] = [
  ['linked here', { ann: 'had', 'ann, to read': 'had', bob: 'had', admin: 'had', nobody: 'had' }],
  ['linked here, marked as unused', { ann: 'had', 'ann, to read': 'had', bob: 'had', admin: 'had', nobody: 'had' }],
  ['linked in a public repository of bob', { ann: 'linked', 'ann, to read': 'linked', bob: 'linked', admin: 'linked', nobody: 'linked' }],
  ['linked in a gated repository of bob', { ann: 'send', 'ann, to read': 'send', bob: 'linked', admin: 'linked', nobody: 'send' }],
  ['linked in a disabled repository of ann', { ann: 'send', 'ann, to read': 'send', bob: 'send', admin: 'linked', nobody: 'send' }],
  ['linked in a private repository of ann', { ann: 'linked', 'ann, to read': 'linked', bob: 'send', admin: 'linked', nobody: 'send' }],
  ['linked in a private repository of bob', { ann: 'send', 'ann, to read': 'send', bob: 'linked', admin: 'linked', nobody: 'send' }],
  ['linked in private repositories of both', { ann: 'linked', 'ann, to read': 'linked', bob: 'linked', admin: 'linked', nobody: 'send' }],
  ['linked in a deleted public repository', { ann: 'send', 'ann, to read': 'send', bob: 'send', admin: 'send', nobody: 'send' }],
  ['there, and linked nowhere', { ann: 'send', 'ann, to read': 'send', bob: 'send', admin: 'send', nobody: 'send' }],
  ['its bytes are stored, and it was never finished', { ann: 'send', 'ann, to read': 'send', bob: 'send', admin: 'send', nobody: 'send' }],
  ['unknown', { ann: 'send', 'ann, to read': 'send', bob: 'send', admin: 'send', nobody: 'send' }],
]

for (const [state, byCaller] of answers) {
  for (const [caller, answer] of Object.entries(byCaller) as [Caller, 'had' | 'linked' | 'send'][]) {
    t.test(`an object that is ${state}, claimed by ${caller}: ${answer}`, async (t) => {
      const here = await insertRepo(db, await insertOwner(db))
      const object = await states[state]!(here)
      const before = await largeFiles.find(here, [object.oid])
      t.same([...before], answer === 'had' ? [[object.oid, object.size]] : [], 'what is found here before')
      const mayRead = (repo: Parameters<typeof may>[1]) => may(callers[caller], repo, 'content.read')
      const claimed = await largeFiles.claim({ repoId: here, objects: [object], mayRead })
      t.same([...claimed], answer === 'send' ? [] : [[object.oid, object.size]])
      t.same([...(await largeFiles.find(here, [object.oid]))], [...claimed], 'what is found here afterwards')
      t.equal(await linkOf(db, here, object.oid), answer === 'send' ? undefined : 'linked')
    })
  }
}

t.test('a claim of many objects answers for each, whatever their order and however often they are named', async (t) => {
  const [here, there, hidden] = [await insertRepo(db, ann), await insertRepo(db, ann), await insertRepo(db, bob)]
  const [had, linked, secret, unknown] = [await stored(here), await stored(there), await stored(hidden), { oid: oidOf('no'), size: 2 }]
  const claimed = await largeFiles.claim({
    repoId: here,
    objects: [unknown, linked, secret, had, linked, unknown],
    mayRead: (repo) => repo.namespaceId === ann,
  })
  t.same(new Map(claimed), new Map([had, linked].map(({ oid, size }) => [oid, size])))
  t.same(await largeFiles.claim({ repoId: here, objects: [], mayRead: () => true }), new Map())
})

t.test('an object here is answered with its true size; one elsewhere is linked only by it', async (t) => {
  const [here, there] = [await insertRepo(db, ann), await insertRepo(db, ann)]
  const [had, other] = [await stored(here), await stored(there)]
  const claim = (size: number) =>
    largeFiles.claim({
      repoId: here,
      objects: [
        { oid: had.oid, size },
        { oid: other.oid, size },
      ],
      mayRead: () => true,
    }) // prettier-ignore
  t.same([...(await claim(1))], [[had.oid, had.size]])
  t.equal((await claim(other.size)).get(other.oid), other.size)
})

t.test('a claim renews the link it finds', async (t) => {
  const here = await insertRepo(db, ann)
  const object = await stored(here)
  await ageLink(db, here, object.oid, 1000)
  await largeFiles.claim({ repoId: here, objects: [object], mayRead: () => false })
  const [row] = await db.query<{ fresh: boolean }>(sql`
    SELECT last_seen > now() - interval '1 minute' AS fresh FROM repo_large_object WHERE repo_id = ${here}`)
  t.equal(row!.fresh, true)
})

t.test('nobody is asked about the repository itself, one that is deleted, or one that does not link the object', async (t) => {
  const [here, there] = [await insertRepo(db, ann), await insertRepo(db, bob)]
  await insertRepo(db, ann, { visibility: 'public' })
  const [mine, object] = [await stored(here), await stored(there)]
  const deleted = await insertRepo(db, bob, { visibility: 'public' })
  await stored(deleted, object.content)
  await db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${deleted}`)
  const asked: number[] = []
  const mayRead = ({ id }: { id: number }) => asked.push(id) < 0
  t.equal((await largeFiles.claim({ repoId: here, objects: [mine, object], mayRead })).size, 1)
  t.same(asked, [there])
})

t.test('of very many repositories that link an object the public ones are asked about', async (t) => {
  const object = await stored(await insertRepo(db, ann, { visibility: 'public' }))
  for (let i = 0; i < 120; i++) await stored(await insertRepo(db, bob), object.content)
  const here = await insertRepo(db, ann)
  let asked = 0
  const mayRead = ({ visibility }: { visibility: string }) => {
    asked += 1
    return visibility === 'public'
  }
  t.equal((await largeFiles.claim({ repoId: here, objects: [object], mayRead })).size, 1)
  t.ok(asked <= 100, `${asked} were asked about`)
})

t.test('a deleted repository claims nothing, also when it is deleted meanwhile', async (t) => {
  const object = await stored(await insertRepo(db, ann))
  const here = await insertRepo(db, ann)
  const deleting = await holdTransaction(db)
  await deleting.tx.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${here}`)
  const claiming = largeFiles.claim({ repoId: here, objects: [object], mayRead: () => true })
  const rejected = t.rejects(claiming, { code: 'repo-not-found' })
  await untilWaiting(db)
  await deleting.commit()
  await rejected
  t.equal(await linkOf(db, here, object.oid), undefined)
  await t.rejects(largeFiles.claim({ repoId: 2 ** 40, objects: [object], mayRead: () => true }), { code: 'repo-not-found' })
})

t.test('many claims of the same objects in all orders do not wait for each other in a circle', async (t) => {
  const there = await insertRepo(db, ann, { visibility: 'public' })
  const objects = await Promise.all(Array.from({ length: 20 }, () => stored(there)))
  const here = await insertRepo(db, ann)
  const rounds = Array.from({ length: 24 }, (_, i) => {
    const shuffled = objects.map((object, at) => [(at * (2 * i + 1)) % 20, object] as const).toSorted(([a], [b]) => a - b)
    return largeFiles.claim({ repoId: here, objects: shuffled.map(([, object]) => object), mayRead: () => true })
  })
  t.same(
    (await Promise.all(rounds)).map(({ size }) => size),
    rounds.map(() => 20),
  )
})
