import t from 'tap'
import { findOidRow, oidRowsComplaint, writeFanout, type OidRows } from '../../../protocol/pack/oid-rows.js'
import { diceOf } from '../../support/dice.js'

/** Rows of oids that begin with these bytes and end in zeros, and a fan-out that says so. */
function rowsOf(...beginnings: readonly string[]): OidRows {
  const file = Buffer.alloc(1024 + beginnings.length * 20)
  beginnings.forEach((beginning, row) => file.write(beginning, 1024 + row * 20, 'hex'))
  writeFanout(file, 0, 1024, beginnings.length)
  const fanout = Uint32Array.from({ length: 256 }, (_, byte) => file.readUInt32BE(byte * 4))
  return { bytes: file, oidsAt: 1024, fanout, count: beginnings.length }
}

t.test('oids are found where they are', async (t) => {
  const rows = rowsOf('0001', '0002', '07', '07ff', 'ff')
  t.equal(oidRowsComplaint(rows), undefined)
  t.same([rows.fanout[0], rows.fanout[6], rows.fanout[7], rows.fanout[254], rows.fanout[255]], [2, 2, 4, 4, 5])
  const found = (beginning: string): number => findOidRow(rows, Buffer.from(`eeeeee${beginning}`.padEnd(46, '0'), 'hex'), 3)
  t.same(['0001', '0002', '07', '07ff', 'ff'].map(found), [0, 1, 2, 3, 4])
  t.same(['00', '0003', '06', '0701', '08', 'ff01'].map(found), [-1, -1, -1, -1, -1, -1])
})

t.test('of many, every one is found and no other, whether they look random or not', async (t) => {
  const dice = diceOf(11)
  const random = (): string => Array.from({ length: 20 }, () => dice(256).toString(16).padStart(2, '0')).join('')
  const numbered = (n: number): string => n.toString(16).padStart(8, '0')
  const many: readonly (readonly [string, readonly string[]])[] = [
    ['random', Array.from({ length: 20_000 }, random)],
    ['alike at the front', Array.from({ length: 5_000 }, (_, n) => `ab${numbered(n * 3)}`)],
    ['two heaps', Array.from({ length: 2_000 }, (_, n) => `${n % 2 ? '00000000' : '00ffffff'}${numbered(n)}`)],
    ['at the end of theirs', Array.from({ length: 300 }, (_, n) => `cdffff${numbered(n)}`)],
  ]
  for (const [name, beginnings] of many) {
    const sorted = [...new Set(beginnings)].toSorted()
    const rows = rowsOf(...sorted)
    const wrong = sorted.filter((beginning, row) => findOidRow(rows, Buffer.from(beginning.padEnd(40, '0'), 'hex'), 0) !== row)
    t.same(wrong, [], name)
    const known = new Set(sorted)
    const others = sorted.map((beginning) => `${beginning.slice(0, 7)}${beginning[7] === 'f' ? 'e' : 'f'}${beginning.slice(8)}`)
    const madeUp = others.filter((other) => !known.has(other) && findOidRow(rows, Buffer.from(other.padEnd(40, '0'), 'hex'), 0) !== -1)
    t.same(madeUp, [], `${name}, others`)
  }
})

t.test('rows that contradict themselves are named', async (t) => {
  const rows = rowsOf('0001', '0002', '07')
  const withFanout = (change: (fanout: Uint32Array) => void): OidRows => {
    const fanout = rows.fanout.slice()
    change(fanout)
    return { ...rows, fanout }
  }
  t.equal(oidRowsComplaint(rowsOf('0002', '0001')), 'has oids out of order')
  t.equal(oidRowsComplaint(rowsOf('07', '07')), 'has oids out of order')
  t.equal(oidRowsComplaint(withFanout((fanout) => (fanout[0] = 1))), 'has a fan-out that does not match its oids')
  const doesNotRise = 'has a fan-out that does not rise to its count'
  t.equal(oidRowsComplaint(withFanout((fanout) => (fanout[255] = 4))), doesNotRise)
  t.equal(oidRowsComplaint(withFanout((fanout) => (fanout[255] = 2))), doesNotRise)
  t.equal(oidRowsComplaint(withFanout((fanout) => fanout.fill(2, 7))), doesNotRise)
})
