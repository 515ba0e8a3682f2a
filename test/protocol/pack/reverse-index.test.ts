import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { decodeReverseIndex, encodeReverseIndex } from '../../../protocol/pack/reverse-index.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { indexedByGit, indexPack, sealed } from '../../support/packs.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const packSha1 = Buffer.alloc(20, 0x77)
const three = sealed(hex(`52494458 00000001 00000001 00000002 00000000 00000001 ${'77'.repeat(20)}`))

t.test('rows stand in the order of the pack', async (t) => {
  const rowOfRank = Uint32Array.of(2, 0, 1)
  t.same(encodeReverseIndex({ count: 3, packSha1, rowOfRank }), three)
  t.same(decodeReverseIndex(three), { packSha1, rowOfRank })
  t.same(decodeReverseIndex(encodeReverseIndex({ count: 0, packSha1, rowOfRank: new Uint32Array(0) })).rowOfRank, new Uint32Array(0))
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

t.test('a .rev that is cut off or goes on is refused, at every length', async (t) => {
  for (let length = 0; length < three.length; length++)
    t.throws(() => decodeReverseIndex(three.subarray(0, length)), { code: 'corrupt' }, `${length}`)
  t.throws(() => decodeReverseIndex(Buffer.concat([three, Buffer.alloc(4)])), { code: 'corrupt' })
})

t.test('a .rev that lies is refused', async (t) => {
  const cases: readonly [lie: string, offset: number, hex: string, message: string][] = [
    ['another format', 0, '58', 'is none'],
    ['a later version', 7, '02', 'has version 2'],
    ['another hash', 11, '02', 'is not of SHA-1'],
    ['a row twice', 15, '01', 'does not have every row once'],
    ['a row beyond the count', 15, '03', 'does not have every row once'],
  ]
  for (const [lie, offset, bytes, message] of cases) {
    const lying = Buffer.from(three.subarray(0, -20))
    lying.set(hex(bytes), offset)
    t.throws(() => decodeReverseIndex(sealed(lying)), { code: 'corrupt', message: `reverse index ${message}` }, lie)
  }
  const spoilt = Buffer.from(three)
  spoilt[30]! ^= 1
  t.throws(() => decodeReverseIndex(spoilt), { code: 'corrupt', message: 'reverse index does not match its checksum' })
})
