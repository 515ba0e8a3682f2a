import { join } from 'node:path'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { eachTreeEntry, encodeTree, parseTree, type TreeEntry } from '../../../protocol/objects/tree.js'
import type { Oid } from '../../../protocol/types.js'
import { mutated, seeded } from '../../support/fsck.js'
import { git } from '../../support/git.js'

const cwd = join(t.testdir(), 'work')
await git(['init', '-q', cwd])
const line = async (args: string[], input?: Buffer): Promise<string> =>
  (await git(args, { cwd, ...(input ? { input } : {}) })).stdout.toString('latin1').trim()
const blob = (await line(['hash-object', '-w', '--stdin'], Buffer.from('x'))) as Oid
const folder = (await line(['mktree'], Buffer.from(`100644 blob ${blob}\tinner\n`))) as Oid

const entry = (mode: string, name: string, oid: Oid = mode === '40000' ? folder : blob): TreeEntry => ({ mode, name, oid })
const latin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

/** In git's order. */
const sorted: readonly TreeEntry[] = [
  entry('100644', '.gitignore'),
  entry('100644', 'a!'),
  entry('100644', 'a-b'),
  entry('100644', 'a.b'),
  entry('40000', 'a'),
  entry('100755', 'a0'),
  entry('160000', 'sub', '5'.repeat(40) as Oid),
  entry('120000', 'z'),
  entry('100644', latin1('é')),
  entry('40000', latin1('日本')),
]

t.test('entries in any order are written as git mktree does', async (t) => {
  const input = sorted.map(
    ({ mode, name, oid }) => `${mode.padStart(6, '0')} ${mode === '40000' ? 'tree' : mode === '160000' ? 'commit' : 'blob'} ${oid}\t${name}\0`,
  )
  const oid = await line(['mktree', '-z', '--missing'], Buffer.from(input.toReversed().join(''), 'latin1'))
  const { stdout } = await git(['cat-file', 'tree', oid], { cwd })
  const below = seeded(1)
  for (let i = 0; i < 20; i++) {
    const shuffled = sorted.map((entry) => ({ entry, key: below(1000) })).toSorted((a, b) => a.key - b.key)
    t.ok(encodeTree(shuffled.map(({ entry }) => entry)).equals(stdout))
  }
  t.same(parseTree(stdout), sorted)
  t.same(parseTree(encodeTree([])), [])
})

t.test('what a push would be refused for is not written', async (t) => {
  const bad: readonly (readonly [readonly TreeEntry[], string])[] = [
    [[entry('100644', 'a'), entry('100755', 'a')], 'tree contains entry "a" twice'],
    [[entry('100644', 'a'), entry('40000', 'a')], 'tree contains entry "a" twice'],
    [[entry('100644', 'a'), entry('100644', 'a.b'), entry('40000', 'a')], 'tree contains entry "a" twice'],
    [[entry('100664', 'a')], '"100664" is not the mode of a tree entry'],
    [[entry('040000', 'a')], '"040000" is not the mode of a tree entry'],
    [[entry('100644', '')], 'not the name of a tree entry: ""'],
    [[entry('100644', 'a\0b')], 'not the name of a tree entry: "a\\u0000b"'],
    [[entry('100644', '日')], 'not the name of a tree entry: "日"'],
    [[entry('100644', 'a/b')], 'tree contains a name with a slash: "a/b"'],
    [[entry('40000', '..')], 'tree contains entry named ".."'],
    [[entry('40000', '.GIT')], 'tree contains entry named .git: ".GIT"'],
    [[entry('120000', '.gitmodules')], 'tree contains a .gitmodules that is a symbolic link: ".gitmodules"'],
    [[entry('100644', 'a', 'abc' as Oid)], 'not an object id: "abc"'],
    [[entry('100644', 'a', '0'.repeat(40) as Oid)], 'tree entry "a" has the null object id'],
  ]
  for (const [entries, message] of bad) t.throws(() => encodeTree(entries), { code: 'bad-object', message })
})

t.test('old modes are read without their zeros, others as they are', async (t) => {
  const raw = Buffer.concat(['040000 a', '0100644 b', '100664 c'].flatMap((text) => [Buffer.from(`${text}\0`), Buffer.from(blob, 'hex')]))
  t.same(
    parseTree(raw).map(({ mode }) => mode),
    ['40000', '100644', '100664'],
  )
})

t.test('a part of a larger buffer is read in its bounds', async (t) => {
  const data = encodeTree(sorted)
  const around = Buffer.concat([Buffer.from('100644 before\0'), data, Buffer.from('100644 behind\0')])
  t.same(parseTree(around.subarray(14, 14 + data.length)), sorted)
})

t.test('a tree cut off anywhere but between entries is corrupt', async (t) => {
  const data = encodeTree(sorted.slice(0, 3))
  const ends = new Set([0])
  eachTreeEntry(data, (_mode, _start, _end, oid) => ends.add(oid + 20))
  for (let length = 0; length < data.length; length++) {
    if (ends.has(length)) t.equal(parseTree(data.subarray(0, length)).length, [...ends].indexOf(length))
    else t.throws(() => parseTree(data.subarray(0, length)), { code: 'corrupt', message: 'a stored tree does not read back' })
  }
})

t.test('10,000 damaged trees: only ProtocolErrors, and no entry out of bounds', async (t) => {
  const below = seeded(61)
  const whole = encodeTree(sorted)
  let read = 0
  for (let i = 0; i < 10_000; i++) {
    const data = mutated(whole, below, [...Buffer.from('0 147\0')])
    try {
      eachTreeEntry(data, (mode, start, end, oid) => {
        if (!(mode >= 0 && mode < 2 ** 24 && start <= end && end < oid && oid + 20 <= data.length)) t.fail(JSON.stringify({ mode, start, end, oid }))
      })
      read += 1
      const entries = parseTree(data)
      encodeTree(entries)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
    }
  }
  t.ok(read > 500, String(read))
})
