import t from 'tap'
import { encodeTree } from '../../../protocol/objects/tree.js'
import type { Oid } from '../../../protocol/types.js'
import { findTreeEntry } from '../../../src/repos/find-tree-entry.js'
import { never, slices } from '../../support/domain.js'

const oid = (digit: string): Oid => digit.repeat(40) as Oid
const latin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

t.test('finds entries by name, of every kind', async (t) => {
  const tree = encodeTree([
    { mode: '100644', name: 'a', oid: oid('1') },
    { mode: '40000', name: 'dir', oid: oid('2') },
    { mode: '100755', name: latin1('größe'), oid: oid('3') },
    { mode: '120000', name: 'link', oid: oid('4') },
    { mode: '100644', name: 'a b', oid: oid('5') },
  ])
  const find = async (name: string) => {
    const entry = await findTreeEntry(tree, name, slices())
    return entry && `${entry.mode} ${entry.oid[0]}`
  }
  t.equal(await find('a'), '100644 1')
  t.equal(await find('dir'), '40000 2')
  t.equal(await find('größe'), '100755 3')
  t.equal(await find('link'), '120000 4')
  t.equal(await find('a b'), '100644 5')
  for (const name of ['', 'b', 'A', 'aa', 'di', 'dir/', '..', 'gr']) t.equal(await find(name), undefined, JSON.stringify(name))
})

t.test('the bytes of an oid are never taken for an entry', async (t) => {
  // An oid with " x\0" in it, where a careless search would land.
  const tree = encodeTree([{ mode: '100644', name: 'a', oid: '20780031303036343420780031'.padEnd(40, '0') as Oid }])
  t.equal(await findTreeEntry(tree, 'x', slices()), undefined)
})

t.test('a name that is no UTF-8 is found as listings show it, an exact one before it', async (t) => {
  const invalid = { mode: '100644', name: 'x\xff', oid: oid('1') }
  const exact = { mode: '100644', name: latin1('x\ufffd'), oid: oid('2') }
  t.equal((await findTreeEntry(encodeTree([invalid]), 'x\ufffd', slices()))?.oid, oid('1'))
  t.equal((await findTreeEntry(encodeTree([invalid, exact]), 'x\ufffd', slices()))?.oid, oid('2'))
  t.equal((await findTreeEntry(encodeTree([exact, invalid]), 'x\ufffd', slices()))?.oid, oid('2'))
  t.equal(await findTreeEntry(encodeTree([invalid]), 'y\ufffd', slices()), undefined)
})

t.test('what is no tree is corrupt, cut off anywhere', async (t) => {
  const tree = encodeTree([
    { mode: '100644', name: 'a', oid: oid('1') },
    { mode: '100644', name: 'b', oid: oid('2') },
  ])
  for (let end = 1; end < tree.length; end++) {
    if (end === tree.length / 2) continue
    await t.rejects(findTreeEntry(tree.subarray(0, end), 'zzz', slices()), { code: 'corrupt' }, `${end} bytes`)
  }
  t.equal(await findTreeEntry(Buffer.alloc(0), 'a', slices()), undefined)
})

t.test('a client that left does not have a huge tree searched for him', async (t) => {
  const names = Array.from({ length: 20_000 }, (_, i) => ({ mode: '100644', name: `f${String(i).padStart(6, '0')}`, oid: oid('1') }))
  const tree = encodeTree(names)
  t.equal((await findTreeEntry(tree, 'f019999', slices(never)))?.oid, oid('1'))
  await t.rejects(findTreeEntry(tree, 'f019999', slices(AbortSignal.abort())), { code: 'cancelled' })
})
