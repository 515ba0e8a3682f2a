import t from 'tap'
import { contentRange, contentRangeOfNone, parseRange } from '../../../src/http/byte-range.js'

/** `from-to` with `to` exclusive, or the kind. */
const seen = (header: string | undefined, size: number): string => {
  const asked = parseRange(header, size)
  return asked.kind === 'part' ? `${asked.range.from}-${asked.range.to}` : asked.kind
}

t.test('what a Range header asks of a file', async (t) => {
  const cases: readonly [header: string | undefined, size: number, expected: string][] = [
    [undefined, 10, 'whole'],
    ['bytes=0-0', 10, '0-1'],
    ['bytes=0-9', 10, '0-10'],
    ['bytes=9-9', 10, '9-10'],
    ['bytes=3-5', 10, '3-6'],
    ['bytes=3-', 10, '3-10'],
    ['bytes=0-', 10, '0-10'],
    ['bytes=-1', 10, '9-10'],
    ['bytes=-10', 10, '0-10'],
    ['bytes=003-005', 10, '3-6'],
    // an end beyond the file is taken back
    ['bytes=0-100000', 10, '0-10'],
    ['bytes=9-10', 10, '9-10'],
    ['bytes=-11', 10, '0-10'],
    ['bytes=0-99999999999999999999999999', 10, '0-10'],
    ['bytes=-99999999999999999999999999', 10, '0-10'],
    [`bytes=5-${'9'.repeat(400)}`, 10, '5-10'],
    // nothing there
    ['bytes=10-', 10, 'unsatisfiable'],
    ['bytes=10-10', 10, 'unsatisfiable'],
    ['bytes=99999999999999999999-', 10, 'unsatisfiable'],
    [`bytes=${'9'.repeat(400)}-`, 10, 'unsatisfiable'],
    ['bytes=-0', 10, 'unsatisfiable'],
    ['bytes=0-0', 0, 'unsatisfiable'],
    ['bytes=0-', 0, 'unsatisfiable'],
    ['bytes=-5', 0, 'unsatisfiable'],
    // large files
    ['bytes=5368709120-5368709129', 6_000_000_000, '5368709120-5368709130'],
    // several
    ['bytes=0-1,3-4', 10, 'several'],
    ['bytes=0-1, 3-4', 10, 'several'],
    ['bytes=0-0,-1', 10, 'several'],
    ['bytes=20-30,40-50', 10, 'several'],
    // one, in a list
    ['bytes=,3-5,', 10, '3-6'],
    ['bytes= 3-5', 10, '3-6'],
    ['Bytes=3-5', 10, '3-6'],
    // as good as none
    ['', 10, 'whole'],
    ['bytes', 10, 'whole'],
    ['bytes=', 10, 'whole'],
    ['bytes=,', 10, 'whole'],
    ['bytes=-', 10, 'whole'],
    ['bytes=a-b', 10, 'whole'],
    ['bytes=5-3', 10, 'whole'],
    ['bytes=5', 10, 'whole'],
    ['bytes=--5', 10, 'whole'],
    ['bytes=1-2-3', 10, 'whole'],
    ['bytes=0x1-5', 10, 'whole'],
    ['bytes=1e1-', 10, 'whole'],
    ['bytes=+1-5', 10, 'whole'],
    ['bytes=1.5-5', 10, 'whole'],
    ['bytes=0-1,x', 10, 'whole'],
    ['bytes=٣-٥', 10, 'whole'],
    ['bytes:0-1', 10, 'whole'],
    ['items=0-1', 10, 'whole'],
  ]
  for (const [header, size, expected] of cases) t.equal(seen(header, size), expected, `${header?.slice(0, 60)} of ${size}`)
})

t.test('whatever comes, a part lies within the file and is not empty', async (t) => {
  const pieces = ['bytes', '=', '-', ',', ' ', '0', '1', '9', '10', '4096', '9007199254740993', 'x', 'é', '\t', '+', '.', 'bytes=', '0-', '-1']
  let seed = 1
  const random = (below: number): number => (seed = (seed * 48_271) % 0x7fffffff) % below
  const kinds = new Map<string, number>()
  let wrong = 0
  for (let i = 0; i < 10_000; i++) {
    const start = random(2) === 0 ? '' : 'bytes='
    const header = start + Array.from({ length: random(8) }, () => pieces[random(pieces.length)]).join('')
    const size = [0, 1, 2, 10, 4096, 2 ** 40][random(6)]!
    const asked = parseRange(header, size)
    kinds.set(asked.kind, (kinds.get(asked.kind) ?? 0) + 1)
    if (asked.kind !== 'part') continue
    const { from, to } = asked.range
    if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from < to && to <= size)) wrong++
  }
  t.equal(wrong, 0)
  t.same([...kinds.keys()].toSorted(), ['part', 'several', 'unsatisfiable', 'whole'], 'all of it was tried')
})

t.test('Content-Range', async (t) => {
  t.equal(contentRange({ from: 3, to: 6 }, 10), 'bytes 3-5/10')
  t.equal(contentRangeOfNone(10), 'bytes */10')
})
