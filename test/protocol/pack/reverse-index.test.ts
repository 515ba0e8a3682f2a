import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { decodeReverseIndex, encodeReverseIndex } from '../../../protocol/pack/reverse-index.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { indexedByGit, indexPack, sealed } from '../../support/packs.js'
import { refusesDamage, refusesLies } from '../../support/side-files.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const packSha1 = Buffer.alloc(20, 0x77)
const three = sealed(hex(`52494458 00000001 00000001 00000002 00000000 00000001 ${'77'.repeat(20)}`))

t.test('rows stand in the order of the pack', async (t) => {
  const rowOfRank = Uint32Array.of(2, 0, 1)
  t.same(encodeReverseIndex({ count: 3, packSha1, rowOfRank }), three)
  t.same(decodeReverseIndex(three), { packSha1, rowOfRank })
  t.same(decodeReverseIndex(encodeReverseIndex({ count: 0, packSha1, rowOfRank: new Uint32Array(0) })).rowOfRank, new Uint32Array(0))
})

t.test('a .rev that would be over 2 GiB is not begun', async (t) => {
  const index = { count: 2 ** 29, packSha1, rowOfRank: new Uint32Array(0) }
  t.throws(() => encodeReverseIndex(index), { code: 'too-large', message: 'a reverse index of 2147483700 bytes is over the limit of 2147483647' })
})

t.test('a .rev of C git is written to the byte, and read', async (t) => {
  const bare = t.testdir()
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, 300)
  await git(['repack', '-q', '-a', '-d'], { cwd: bare })
  const folder = join(bare, 'objects', 'pack')
  const pack = readFileSync(join(folder, readdirSync(folder).find((name) => name.endsWith('.pack'))!))
  const { rev } = await indexedByGit(pack)
  const { index } = indexPack(pack)
  t.ok(encodeReverseIndex(index).equals(rev))
  const read = decodeReverseIndex(rev)
  t.same(read.rowOfRank, index.rowOfRank)
  t.same(Buffer.from(read.packSha1), Buffer.from(index.packSha1))
  t.ok(index.count > 1000)
})

t.test('a .rev that is cut off, spoilt or goes on is refused', async (t) => {
  refusesDamage(t, three, decodeReverseIndex, false)
  t.throws(() => decodeReverseIndex(Buffer.concat([three, Buffer.alloc(4)])), { code: 'corrupt' })
})

t.test('a .rev that lies is refused', async (t) => {
  const cases: readonly [lie: string, offset: number, hex: string, message: string][] = [
    ['another format', 0, '58', 'reverse index is none'],
    ['a later version', 7, '02', 'reverse index has version 2'],
    ['another hash', 11, '02', 'reverse index is not of SHA-1'],
    ['a row twice', 15, '01', 'reverse index does not have every row once'],
    ['a row beyond the count', 15, '03', 'reverse index does not have every row once'],
  ]
  refusesLies(t, three, cases, decodeReverseIndex)
})
