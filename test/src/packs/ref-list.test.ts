import t from 'tap'
import type { RefName } from '../../../protocol/types.js'
import { RefList, type RefBytes } from '../../../src/packs/ref-list.js'

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
  t.equal(list.shared, list.shared, 'it is made once')
})
