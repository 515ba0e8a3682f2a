import t from 'tap'
import { answerBatch, parseBatch } from '../../lfs/batch.js'
import type { LargeObject, LfsStore } from '../../lfs/ports.js'
import type { LfsOid } from '../../lfs/types.js'

const [here, elsewhere, unknown] = ['a', 'b', 'c'].map((digit) => digit.repeat(64) as LfsOid) as [LfsOid, LfsOid, LfsOid]

interface FakeStore extends LfsStore {
  readonly reserved: LargeObject[]
}

/** A repository that has `here`, and whose caller can read `elsewhere` in another one. */
function createStore({ noRoom }: { readonly noRoom?: string } = {}): FakeStore {
  const reserved: LargeObject[] = []
  const sizes = new Map([[here, 10]])
  return {
    reserved,
    find: async (oids) => new Map([...sizes].filter(([oid]) => oids.includes(oid))),
    claim: async (objects) => {
      const known = new Map([...sizes, [elsewhere, 20] as const])
      return new Map([...known].filter(([oid]) => objects.some((object) => object.oid === oid)))
    },
    reserve: async (objects) => {
      reserved.push(...objects)
      return noRoom === undefined ? new Map(objects.map(({ oid }) => [oid, `upload of ${oid[0]}`])) : { noRoom }
    },
    download: async ({ oid, size }) => ({ href: `get ${oid[0]} ${size}`, expires_in: 60 }),
    upload: async ({ oid }, uploadId) => ({
      upload: { href: `put ${oid[0]}, ${uploadId}`, expires_in: 60 },
      verify: { href: 'verify', expires_in: 60 },
    }),
  }
}

const answers = async (operation: string, objects: readonly object[], store = createStore()) =>
  (await answerBatch(parseBatch({ operation, objects }), store)).objects

t.test('state × caller × answer: download', async (t) => {
  t.same(
    await answers('download', [
      { oid: here, size: 10 },
      { oid: here },
      { oid: here, size: 99 },
      { oid: elsewhere, size: 20 },
      { oid: unknown, size: 1 },
    ]),
    [
      { oid: here, size: 10, authenticated: true, actions: { download: { href: 'get a 10', expires_in: 60 } } },
      { oid: here, size: 10, authenticated: true, actions: { download: { href: 'get a 10', expires_in: 60 } } },
      { oid: here, size: 10, authenticated: true, actions: { download: { href: 'get a 10', expires_in: 60 } } },
      { oid: elsewhere, size: 20, error: { code: 404, message: 'this repository has no such object' } },
      { oid: unknown, size: 1, error: { code: 404, message: 'this repository has no such object' } },
    ],
    'the true size, whatever was said; what others have is not told from what nobody has',
  )
})

t.test('state × caller × answer: upload', async (t) => {
  const upload = (oid: LfsOid, size: number) => ({
    oid,
    size,
    authenticated: true,
    actions: { upload: { href: `put ${oid[0]}, upload of ${oid[0]}`, expires_in: 60 }, verify: { href: 'verify', expires_in: 60 } },
  })
  const store = createStore()
  t.same(
    await answers(
      'upload',
      [
        { oid: here, size: 10 },
        { oid: elsewhere, size: 20 },
        { oid: unknown, size: 1 },
        { oid: unknown, size: 1 },
        { oid: here, size: 11 },
      ],
      store,
    ),
    [
      { oid: here, size: 10 },
      { oid: elsewhere, size: 20 },
      upload(unknown, 1),
      upload(unknown, 1),
      { oid: here, size: 11, error: { code: 422, message: 'the object has 10 bytes, not 11' } },
    ],
  )
  t.same(store.reserved, [{ oid: unknown, size: 1 }], 'room is made once for each')
  t.same(await answers('upload', [{ oid: unknown, size: 0 }]), [upload(unknown, 0)])
  t.same(
    await answers(
      'upload',
      [
        { oid: here, size: 10 },
        { oid: unknown, size: 1 },
      ],
      createStore({ noRoom: 'full' }),
    ),
    [
      { oid: here, size: 10 },
      { oid: unknown, size: 1, error: { code: 507, message: 'full' } },
    ],
  )
})

t.test('what is wrong with one object holds up no other', async (t) => {
  const wrong: readonly [object, RegExp][] = [
    [{ oid: 'A'.repeat(64), size: 1 }, /64 lower-case hex digits/],
    [{ oid: '../../../../etc/passwd', size: 1 }, /64 lower-case hex digits/],
    [{ oid: 'a'.repeat(63), size: 1 }, /64 lower-case hex digits/],
    [{ oid: 'a'.repeat(65), size: 1 }, /64 lower-case hex digits/],
    [{ oid: 'g'.repeat(64), size: 1 }, /64 lower-case hex digits/],
    [{ oid: '', size: 1 }, /64 lower-case hex digits/],
    [{ oid: unknown, size: -1 }, /whole number of bytes, not -1/],
    [{ oid: unknown, size: 1.5 }, /whole number of bytes, not 1.5/],
    [{ oid: unknown, size: 2 ** 53 }, /whole number of bytes/],
    [{ oid: unknown, size: 1e300 }, /whole number of bytes/],
    [{ oid: unknown, size: '1' }, /whole number of bytes, not "1"/],
    [{ oid: unknown, size: null }, /whole number of bytes, not null/],
  ]
  for (const operation of ['download', 'upload']) {
    const objects = await answers(operation, [...wrong.map(([object]) => object), { oid: here, size: 10 }])
    wrong.forEach(([object, message], i) => {
      t.equal(objects[i]?.oid, (object as { oid: string }).oid)
      t.match(objects[i]?.error, { code: 422, message })
      t.equal(objects[i]?.actions, undefined)
    })
    t.equal(objects.at(-1)?.error, undefined)
  }
  t.match((await answers('upload', [{ oid: unknown }]))[0], { error: { code: 422 } }, 'who uploads says how much')
})

t.test('a batch of none, of a thousand, and of more', async (t) => {
  t.same(await answers('download', []), [])
  const thousand = Array.from({ length: 1_000 }, (_, i) => ({ oid: i.toString(16).padStart(64, '0'), size: i }))
  const answered = await answers('upload', thousand)
  t.same(
    answered.map(({ oid, size }) => ({ oid, size })),
    thousand,
    'in their order',
  )
  t.ok(answered.every(({ actions }) => actions?.['upload'] !== undefined))
  t.throws(() => parseBatch({ operation: 'upload', objects: [...thousand, thousand[0]] }), { code: 'too-many-objects' })
})

t.test('fields: what clients send, and what they should not', async (t) => {
  const body = { operation: 'download', objects: [] }
  for (const more of [
    {},
    { transfers: ['basic'] },
    { transfers: ['lfs-standalone-file', 'basic', 'ssh'] },
    { transfers: ['tus'] },
    { transfers: null },
    { ref: null },
    { ref: { name: 'refs/heads/main' } },
    { hash_algo: 'sha256' },
    { hash_algo: null },
    { _links: {} },
  ]) {
    t.same(await answerBatch(parseBatch({ ...body, ...more }), createStore()), { transfer: 'basic', objects: [], hash_algo: 'sha256' })
  }
  t.throws(() => parseBatch({ ...body, hash_algo: 'sha512' }), { code: 'bad-hash-algo', message: /"sha512"/ })
  for (const wrong of [
    undefined,
    null,
    [],
    'x',
    1,
    {},
    { operation: 'download' },
    { objects: [] },
    { ...body, operation: 'delete' },
    { ...body, objects: {} },
    { ...body, objects: [null] },
    { ...body, objects: [[]] },
    { ...body, objects: [{}] },
    { ...body, objects: [{ oid: 5 }] },
    { ...body, transfers: 'basic' },
  ]) {
    t.throws(() => parseBatch(wrong), { name: 'LfsError', code: 'bad-body' }, JSON.stringify(wrong))
  }
})
