import t from 'tap'
import type { Ref, RefName } from '../../../protocol/types.js'
import { RefList, toRef, type RefBytes } from '../../../src/packs/ref-list.js'
import { diceOf } from '../../support/dice.js'

const row = (name: string, digit: string, peeled?: string): RefBytes => ({
  name: Buffer.from(name, 'utf8'),
  oid: Buffer.from(digit.repeat(40), 'hex'),
  peeled: peeled === undefined ? null : Buffer.from(peeled.repeat(40), 'hex'),
})
const rows = [
  row('refs/heads/a', '1'),
  row('refs/heads/a-b', '2'),
  row('refs/heads/a/b', '3'),
  row('refs/heads/é', '4'),
  row('refs/internal/pr/1', '5'),
  row('refs/internal/x', '6'),
  row('refs/pull/1/head', '7'),
  row('refs/tags/v1', '8', '9'),
].toSorted((a, b) => Buffer.compare(a.name, b.name))
const head = Buffer.from('refs/heads/é')
const list = RefList.of(head, rows)
const latin1 = (name: string): RefName => Buffer.from(name, 'utf8').toString('latin1') as RefName

t.test('refs come in order of their bytes, one character a byte, without those of the hub itself', async (t) => {
  t.equal(list.head, latin1('refs/heads/é'))
  t.same(
    list.list.map(({ name }) => Buffer.from(name, 'latin1').toString('utf8')),
    ['refs/heads/a', 'refs/heads/a-b', 'refs/heads/a/b', 'refs/heads/é', 'refs/pull/1/head', 'refs/tags/v1'],
  )
  t.same(list.list.at(-1), { name: 'refs/tags/v1', oid: '8'.repeat(40), peeled: '9'.repeat(40) })
  t.notOk('peeled' in list.list[0]!)
})

t.test('each is found by name, others are not', async (t) => {
  for (const ref of list.list) t.equal(list.find(ref.name), ref)
  for (const name of ['', 'refs/heads', 'refs/heads/a/', 'refs/heads/b', 'refs/internal/x', 'refs/zzz', 'refs/heads/é'])
    t.equal(list.find(name as RefName), undefined, name)
  t.equal(RefList.of(head, []).find('refs/heads/a' as RefName), undefined)
})

t.test('another thread reads the same', async (t) => {
  for (const original of [list, RefList.of(head, []), RefList.of(Buffer.from('refs/heads/main'), rows.slice(0, 1))]) {
    const copy = RefList.fromShared(original.shared)
    t.equal(copy.head, original.head)
    t.same(copy.list, original.list)
    for (const ref of original.list) t.same(copy.find(ref.name), ref)
  }
  t.equal(list.shared.blocks[0], list.shared.blocks[0], 'nothing is copied')
})

t.test('a list brought forward is the one that would be read', async (t) => {
  const pick = diceOf(11)
  const nameOf = (): string => `refs/${['heads', 'tags', 'internal', 'pr'][pick(4)]}/${pick(3000)}`
  const rowsNow = new Map<string, RefBytes>()
  let known = RefList.of(head, [])
  let most = 0
  for (let round = 0; round < 120; round++) {
    const changes = new Map<RefName, Ref | undefined>()
    const branch = Buffer.from(`refs/heads/${pick(5)}`)
    // Now and then very many come or go.
    const count = round % 10 === 9 ? 3000 : pick(4)
    for (let i = 0; i < count; i++) {
      const isDelete = round % 20 === 19 || pick(4) === 0
      const existing = [...(count < 10 || isDelete ? rowsNow.keys() : [])]
      const name = existing.length > 0 && pick(3) > 0 ? existing[pick(existing.length)]! : nameOf()
      if (isDelete) {
        rowsNow.delete(name)
        changes.set(name as RefName, undefined)
      } else {
        const made = row(name, '0123456789abcdef'[pick(16)]!, pick(3) === 0 ? 'f' : undefined)
        rowsNow.set(name, made)
        changes.set(name as RefName, toRef(made))
      }
    }
    known = known.with(branch, changes)
    const read = RefList.of(
      branch,
      [...rowsNow.values()].toSorted((x, y) => Buffer.compare(x.name, y.name)),
    )
    most = Math.max(most, known.count)
    t.same([known.head, known.count], [read.head, read.count])
    t.ok(JSON.stringify(known.list) === JSON.stringify(read.list) && wireOf(known).equals(wireOf(read)), `round ${round}`)
    t.ok(known.blocks.every((block) => block.count > 0 && block.count <= 512))
    for (const ref of [known.list[0], known.list.at(-1), known.list[pick(known.count)]]) if (ref) t.same(known.find(ref.name), ref)
  }
  t.ok(most > 1000, 'there was something to compare')
})

const wireOf = ({ blocks }: RefList): Buffer => Buffer.concat(blocks.map(({ lines }) => lines))

t.test('one change leaves all other blocks as they are', async (t) => {
  const many = Array.from({ length: 5000 }, (_, i) => row(`refs/heads/${String(i).padStart(4, '0')}`, '1'))
  const before = RefList.of(head, many)
  const name = latin1('refs/heads/2000')
  const after = before.with(head, new Map([[name, toRef(row(name, '2'))]]))
  const kept = new Set(before.blocks)
  t.same([after.blocks.length, after.blocks.filter((block) => !kept.has(block)).length], [20, 1])
  t.same([before.find(name)?.oid, after.find(name)?.oid], ['1'.repeat(40), '2'.repeat(40)])
})
