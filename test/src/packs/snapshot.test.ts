import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { encodeObjectTable, ObjectTable } from '../../../protocol/pack/object-table.js'
import { packOf as packOfEntry, type FindUse } from '../../../protocol/ports.js'
import type { PackRow } from '../../../src/db/packs.js'
import { PackFiles } from '../../../src/packs/pack-file.js'
import { PackList, type OpenedPack } from '../../../src/packs/pack-list.js'
import { RefList } from '../../../src/packs/ref-list.js'
import { RepoSnapshot, snapshotFromMessage, type Snapshot } from '../../../src/packs/snapshot.js'
import { blob, hexes, indexPack, nameOf, packOf } from '../../support/packs.js'
import { answersOf } from '../../support/snapshot-answers.js'

interface TestPack {
  readonly pack: Buffer
  readonly table: Buffer
  readonly oids: readonly string[]
  readonly sha256: Buffer
}

/** A pack of blobs with these texts. */
function packWith(...texts: string[]): TestPack {
  const pack = packOf(texts.map((text) => blob(text)))
  const sha256 = createHash('sha256').update(pack).digest()
  const { index } = indexPack(pack)
  return { pack, table: encodeObjectTable(index, sha256), oids: hexes(index.oids), sha256 }
}

const row = (id: number, { pack, oids, sha256 }: TestPack, change: Partial<PackRow> = {}): PackRow => ({
  id,
  sha256,
  bytes: pack.length,
  objects: oids.length,
  class: 0,
  state: 'live',
  roots: null,
  external: false,
  source: 'receive',
  part: null,
  updateId: '00000000-0000-4000-8000-000000000000',
  tblSha256: null,
  ...change,
})

const refs = RefList.of(Buffer.from('refs/heads/main'), [{ name: Buffer.from('refs/heads/main'), oid: Buffer.alloc(20, 1), peeled: null }])
const versions = { refsVer: 1, packsVer: 1, gcEpoch: 1, purgeEpoch: 1 }

/** A list of packs as `Snapshots` keeps it, over files of its own. */
class TestList {
  readonly directory: string
  readonly files = new PackFiles()
  readonly list: PackList

  constructor(t: Test, directory: string, memoryBytes = 1_000_000) {
    this.directory = directory
    this.list = new PackList({ files: this.files, directory: join(directory, 'inline'), memoryBytes })
    t.teardown(() => this.retire())
  }

  /** Gives the list up, as `Snapshots` does, once. */
  retire(): void {
    if (!this.#retired) this.list.retire()
    this.#retired = true
  }

  #retired = false

  async addInline(...packs: readonly (readonly [PackRow, TestPack])[]): Promise<void> {
    const rows = packs.map(([{ id }, { pack, table }]) => ({ packId: id, pack, tbl: table }))
    this.list.bringForward(
      packs.map(([row]) => row),
      { inline: await this.list.addInline(rows), stored: new Map() },
    )
  }

  async addStored(row: PackRow, { pack, table, sha256 }: TestPack): Promise<void> {
    const path = join(this.directory, `${row.id}.pack`)
    await writeFile(path, pack)
    const name = `pack ${sha256.toString('hex')}`
    const opened: OpenedPack = { table: ObjectTable.open(table), bytes: this.files.open({ name, bytes: pack.length, from: path }), path }
    this.list.bringForward([row], { inline: new Map(), stored: new Map([[row.id, opened]]) })
  }

  change(row: PackRow): void {
    this.list.bringForward([row], { inline: new Map(), stored: new Map() })
  }

  snapshot(): Snapshot {
    const held = this.list.holdSet()
    return new RepoSnapshot({ repoId: 1, versions, refs, set: held.set, reader: this.list.reader, release: () => held.drop() })
  }
}

const stored = { tblSha256: Buffer.alloc(32, 1) } as const
const find = (snapshot: Snapshot, text: string, use: FindUse): number => snapshot.find(Buffer.from(nameOf(blob(text)), 'hex'), use)
/** Id of the pack an object is found in. */
function packIdOf(snapshot: Snapshot, text: string, use: FindUse): number {
  const entry = find(snapshot, text, use)
  return entry === -1 ? -1 : snapshot.packs[packOfEntry(entry)]!.id
}

t.test('what may be relied on is found first, and garbage never hides it', async (t) => {
  const shared = packWith('shared', 'a')
  const orders = [
    [
      ['inline', 3],
      ['inline', 0],
    ],
    [
      ['inline', 0],
      ['inline', 3],
    ],
    [
      ['stored', 3],
      ['stored', 1],
    ],
    [
      ['stored', 1],
      ['stored', 3],
    ],
    [
      ['inline', 3],
      ['stored', 0],
    ],
    [
      ['stored', 0],
      ['inline', 2],
    ],
    [
      ['stored', 2],
      ['inline', 1],
    ],
    [
      ['inline', 1],
      ['stored', 3],
    ],
  ] as const
  for (const order of orders) {
    const packs = new TestList(t, t.testdir())
    for (const [i, [where, visibility]] of order.entries()) {
      const id = i + 1
      if (where === 'inline') await packs.addInline([row(id, shared, { class: visibility }), shared])
      else await packs.addStored(row(id, shared, { class: visibility, ...stored }), shared)
    }
    const snapshot = packs.snapshot()
    const live = order.findIndex(([, visibility]) => visibility < 2) + 1
    t.equal(packIdOf(snapshot, 'shared', 'credit'), live, JSON.stringify(order))
    t.equal(packIdOf(snapshot, 'shared', 'read'), live)
    t.equal(find(snapshot, 'nowhere', 'read'), -1)
    snapshot.release()
    packs.retire()
  }
})

t.test('hidden and garbage packs can be read and not be relied on', async (t) => {
  const packs = new TestList(t, t.testdir())
  const contents = { heads: packWith('heads'), pulls: packWith('pulls'), hidden: packWith('hidden'), garbage: packWith('garbage') }
  await packs.addInline(
    [row(1, contents.heads), contents.heads],
    [row(2, contents.pulls, { class: 1 }), contents.pulls],
    [row(3, contents.hidden, { class: 2 }), contents.hidden],
    [row(4, contents.garbage, { class: 0, state: 'garbage' }), contents.garbage],
  )
  const snapshot = packs.snapshot()
  t.same(
    Object.keys(contents).map((text) => packIdOf(snapshot, text, 'credit')),
    [1, 2, -1, -1],
  )
  t.same(
    Object.keys(contents).map((text) => packIdOf(snapshot, text, 'read')),
    [1, 2, 3, 4],
  )
  t.same(
    snapshot.packs.map((pack) => [pack.id, pack.class, pack.where]),
    [
      [1, 0, 'inline'],
      [2, 1, 'inline'],
      [3, 2, 'inline'],
      [4, 3, 'inline'],
    ],
  )
  snapshot.release()
})

t.test('stored packs are searched by visibility, the newest first; inline ones come behind, the oldest first', async (t) => {
  const packs = new TestList(t, t.testdir())
  const one = packWith('one')
  for (const [id, visibility] of [
    [1, 3],
    [2, 0],
    [3, 2],
    [4, 1],
  ] as const)
    await packs.addStored(row(id, one, { class: visibility, ...stored }), one)
  for (const id of [5, 6]) await packs.addInline([row(id, one), one])
  const snapshot = packs.snapshot()
  t.same(
    snapshot.packs.map(({ id }) => id),
    [4, 2, 3, 1, 5, 6],
  )
  snapshot.release()
})

t.test('a frozen snapshot stays as it is while packs are added, change and go', async (t) => {
  const packs = new TestList(t, t.testdir(), 3000)
  const first = packWith('first')
  await packs.addInline([row(1, first), first])
  const old = packs.snapshot()
  const texts = ['first', ...Array.from({ length: 300 }, (_, i) => `text ${i}`)]
  const oids = texts.map((text) => nameOf(blob(text)))
  const before = JSON.stringify(await answersOf(old, oids))
  const slots = old.toMessage().inline.slots
  const later: [Snapshot, string][] = []
  for (let i = 0; i < 300; i++) {
    const pack = packWith(`text ${i}`)
    await packs.addInline([row(i + 2, pack), pack])
    if (i % 50 === 0) {
      const snapshot = packs.snapshot()
      later.push([snapshot, JSON.stringify(await answersOf(snapshot, oids))])
    }
    if (i % 3 === 0) packs.change(row(i + 2, pack, { class: 3, state: 'garbage' }))
    if (i % 5 === 0) packs.change(row(i + 2, pack, { state: 'retired' }))
  }
  packs.change(row(1, first, { state: 'retired' }))
  t.equal(JSON.stringify(await answersOf(old, oids)), before)
  for (const [snapshot, said] of later) t.equal(JSON.stringify(await answersOf(snapshot, oids)), said)
  const now = packs.snapshot()
  t.not(now.toMessage().inline.slots, slots, 'growing has made a new buffer')
  t.equal(old.toMessage().inline.slots, slots)
  t.same([packIdOf(now, 'first', 'read'), packIdOf(old, 'first', 'credit')], [-1, 1])
  t.same(
    [packIdOf(now, 'text 0', 'read'), packIdOf(now, 'text 3', 'credit'), packIdOf(now, 'text 3', 'read'), packIdOf(now, 'text 4', 'credit')],
    [-1, -1, 5, 6],
  )
  for (const snapshot of [old, now, ...later.map(([snapshot]) => snapshot)]) snapshot.release()
})

t.test('no number is used twice: each change of a pack takes the next', async (t) => {
  const packs = new TestList(t, t.testdir())
  const [a, b] = [packWith('a'), packWith('b')]
  await packs.addInline([row(1, a), a], [row(2, b), b])
  const numbers = (): number[] => {
    const snapshot = packs.snapshot()
    const { numbers } = snapshot.toMessage()
    snapshot.release()
    return [...numbers]
  }
  t.same(numbers(), [0, 1])
  packs.change(row(1, a, { class: 1 }))
  t.same(numbers(), [1, 2], 'and moves to the end')
  packs.change(row(1, a, { state: 'retired' }))
  t.same(numbers(), [1])
  await packs.addInline([row(3, a), a])
  t.same(numbers(), [1, 3])
})

t.test('packs go to memory as long as there is room, then to one file', async (t) => {
  const directory = t.testdir()
  const contents = Array.from({ length: 40 }, (_, i) => packWith(`text ${i} ${'x'.repeat(i)}`))
  const room = contents.slice(0, 10).reduce((sum, { pack }) => sum + pack.length, 0)
  const packs = new TestList(t, directory, room)
  await packs.addInline(...contents.map((pack, i) => [row(i + 1, pack), pack] as const))
  const snapshot = packs.snapshot()
  const [name, ...others] = await readdir(join(directory, 'inline'))
  t.match(name, /^[0-9a-f-]{36}\.packs$/)
  t.same(others, [])
  for (const [i, { pack }] of contents.entries()) t.ok(pack.equals(await snapshot.read(i, 0, pack.length)), String(i))
  t.equal((await snapshot.read(3, 5, 5)).length, 0)
  for (const ordinal of [2, 30]) {
    const { length } = contents[ordinal]!.pack
    for (const [from, to] of [
      [0, length + 1],
      [-1, 1],
      [5, 4],
    ] as const) {
      await t.rejects(snapshot.read(ordinal, from, to), {
        code: 'corrupt',
        message: `bytes ${from} to ${to} lie outside inline pack ${ordinal} of ${length} bytes`,
      })
    }
  }
  snapshot.release()
  packs.retire()
  for (let i = 0; i < 100 && (await readdir(join(directory, 'inline'))).length > 0; i++) await sleep(10)
  t.same(await readdir(join(directory, 'inline')), [], 'nobody holds it any more')
})

t.test('a file that vanishes is corrupt', async (t) => {
  const directory = t.testdir()
  const packs = new TestList(t, directory, 0)
  const [inline, file] = [packWith('inline'), packWith('file')]
  await packs.addInline([row(1, inline), inline])
  await packs.addStored(row(2, file, stored), file)
  await rm(join(directory, 'inline'), { recursive: true })
  await rm(join(directory, '2.pack'))
  const snapshot = packs.snapshot()
  await t.rejects(snapshot.read(0, 0, 10), {
    name: 'ProtocolError',
    code: 'corrupt',
    message: `pack ${file.sha256.toString('hex')} does not read back`,
  })
  await t.rejects(snapshot.read(1, 0, 10), { name: 'ProtocolError', code: 'corrupt', message: 'inline pack 0 does not read back' })
  snapshot.release()
})

t.test('a table that is none adds nothing, and a failed write takes no room', async (t) => {
  const directory = t.testdir()
  const good = packWith('good')
  const packs = new TestList(t, directory, good.pack.length)
  await t.rejects(
    packs.list.addInline([
      { packId: 1, pack: good.pack, tbl: good.table },
      { packId: 2, pack: good.pack, tbl: Buffer.from('none') },
    ]),
    { code: 'corrupt' },
  )
  await writeFile(join(directory, 'inline'), 'a file where the folder belongs')
  await t.rejects(packs.list.addInline([1, 2].map((packId) => ({ packId, pack: good.pack, tbl: good.table }))))
  await packs.addInline([row(1, good), good])
  const snapshot = packs.snapshot()
  t.equal(snapshot.toMessage().inline.path, undefined, 'there was still room in memory')
  t.same([...snapshot.toMessage().numbers], [0])
  snapshot.release()
})

t.test('another thread answers the same, from shared memory, files and the file of inline packs', async (t) => {
  const packs = new TestList(t, t.testdir(), 200)
  const contents = Array.from({ length: 20 }, (_, i) => packWith(`inline ${i}`, `common ${i % 3}`))
  await packs.addInline(...contents.map((pack, i) => [row(i + 1, pack, { class: (i % 4) as 0 | 1 | 2 | 3 }), pack] as const))
  const [file, hidden] = [packWith('file', 'common 0', 'common 4'), packWith('hidden file', 'common 5')]
  await packs.addStored(row(30, file, stored), file)
  await packs.addStored(row(31, hidden, { class: 2, ...stored }), hidden)
  packs.change(row(1, contents[0]!, { class: 3, state: 'garbage' }))
  packs.change(row(2, contents[1]!, { state: 'retired' }))
  const snapshot = packs.snapshot()
  const texts = [
    'file',
    'hidden file',
    'nowhere',
    ...Array.from({ length: 20 }, (_, i) => `inline ${i}`),
    ...Array.from({ length: 6 }, (_, i) => `common ${i}`),
  ]
  const oids = texts.map((text) => nameOf(blob(text)))
  const here = await answersOf(snapshot, oids)
  const message = snapshot.toMessage()
  const worker = new Worker(new URL('../../support/snapshot-worker.js', import.meta.url), { workerData: { message, oids } })
  // Meanwhile the list goes on: what the message has does not change.
  const [answered] = await Promise.all([once(worker, 'message'), packs.addInline(...contents.map((pack, i) => [row(i + 100, pack), pack] as const))])
  t.same(answered[0], JSON.parse(JSON.stringify(here)))
  await once(worker, 'exit')

  const view = snapshotFromMessage(structuredClone(message), new PackFiles())
  t.same(JSON.parse(JSON.stringify(await answersOf(view, oids))), JSON.parse(JSON.stringify(here)))
  view.release()
  t.same(await answersOf(snapshot, oids), here, 'releasing a copy closes nothing here')
  snapshot.release()
})

t.test('a pack that is no file here is asked for by its name', async (t) => {
  const packs = new TestList(t, t.testdir())
  const content = packWith('remote')
  const bytes = packs.files.open({ name: 'remote', bytes: content.pack.length, from: async (from, to) => content.pack.subarray(from, to) })
  packs.list.bringForward([row(1, content, stored)], {
    inline: new Map(),
    stored: new Map([[1, { table: ObjectTable.open(content.table), bytes, path: null }]]),
  })
  const snapshot = packs.snapshot()
  t.equal(snapshot.packs[0]!.where, 'remote')
  const message = structuredClone(snapshot.toMessage())
  t.throws(() => snapshotFromMessage(message, new PackFiles()), {
    code: 'corrupt',
    message: `pack ${content.sha256.toString('hex')} is no file here`,
  })
  const view = snapshotFromMessage(message, new PackFiles(), {
    openRemote: (sha256) => {
      t.ok(content.sha256.equals(sha256))
      return bytes
    },
  })
  t.same(await answersOf(view, content.oids), await answersOf(snapshot, content.oids))
  view.release()
  snapshot.release()
})

t.test('snapshots that are held keep their files after the list is given up', async (t) => {
  const directory = t.testdir()
  const packs = new TestList(t, directory, 0)
  const [inline, file] = [packWith('inline'), packWith('file')]
  await packs.addInline([row(1, inline), inline])
  await packs.addStored(row(2, file, stored), file)
  const snapshot = packs.snapshot()
  packs.retire()
  t.ok(file.pack.equals(await snapshot.read(0, 0, file.pack.length)))
  t.ok(inline.pack.equals(await snapshot.read(1, 0, inline.pack.length)))
  t.equal((await readdir(join(directory, 'inline'))).length, 1)
  snapshot.release()
  for (let i = 0; i < 100 && (await readdir(join(directory, 'inline'))).length > 0; i++) await sleep(10)
  t.same(await readdir(join(directory, 'inline')), [])
})

t.test('a list wears out with what is gone, and not with what changes', async (t) => {
  const packs = new TestList(t, t.testdir())
  const large = packWith(...Array.from({ length: 3000 }, (_, i) => `object ${i}`))
  for (let id = 1; id <= 12; id++) {
    await packs.addInline([row(id, large), large])
    packs.change(row(id, large, { class: 1 }))
  }
  t.notOk(packs.list.isWorn)
  for (let id = 1; id <= 12; id++) packs.change(row(id, large, { state: 'retired' }))
  t.ok(packs.list.isWorn)
  t.ok(packs.list.bytes > 12 * large.table.length)
})
