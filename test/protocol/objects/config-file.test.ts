import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseConfig } from '../../../protocol/objects/config-file.js'
import { mutated, seeded } from '../../support/fsck.js'
import { git } from '../../support/git.js'

const file = join(t.testdir(), 'config')

/** Settings as `git config --list -z` prints them, or the number of the line it stops at. */
async function readByGit(text: string): Promise<readonly string[] | number> {
  await writeFile(file, text, 'latin1')
  const { code, stdout, stderr } = await git(['config', '--file', file, '--list', '-z'], { ok: false })
  if (code === 0) return stdout.toString('latin1').split('\0').slice(0, -1)
  return Number(/bad config line (\d+)/.exec(stderr)?.[1])
}

const nameOf = ({ section, subsection, key }: { section: string; subsection: string | undefined; key: string }): string =>
  [section, ...(subsection === undefined ? [] : [subsection]), key].join('.')

function readByUs(text: string): readonly string[] | number {
  const { values, badLine } = parseConfig(text)
  return badLine ?? values.map(({ value, ...of }) => nameOf(of) + (value === undefined ? '' : `\n${value}`))
}

/** Git before 2.45 makes a space of every tab or CR within a value outside of quotes. Nobody here minds which it is. */
const withSpaces = (read: readonly string[] | number): readonly string[] | number =>
  typeof read === 'number' ? read : read.map((value) => value.replaceAll(/[\t\r]/g, ' '))

const setting = (section: string, subsection: string | undefined, key: string, value: string | undefined) => ({ section, subsection, key, value })

t.test('reads sections, subsections, keys and values', async (t) => {
  t.same(parseConfig('[a]b=c').values, [setting('a', undefined, 'b', 'c')])
  t.same(parseConfig('[Core]\n\tBare\n[Sub "MiXed"] Key = Value\n').values, [
    setting('core', undefined, 'bare', undefined),
    setting('sub', 'MiXed', 'key', 'Value'),
  ])
  t.same(parseConfig('[Sub.Old]\nx = 1').values, [setting('sub', 'old', 'x', '1')])
  t.same(parseConfig('[s ""]\nx=\n[s]\nx').values, [setting('s', '', 'x', ''), setting('s', undefined, 'x', undefined)])
  t.same(parseConfig('early = 1').values, [setting('', undefined, 'early', '1')])
})

const readable: readonly (readonly [text: string, ...values: string[]])[] = [
  ['[a]\nb = c d \t e  \n', 'a.b\nc d \t e'],
  ['[a]\nb = " c "  # d\n', 'a.b\n c '],
  ['[a]\nb = x"y ; z"w ; v\n', 'a.b\nxy ; zw'],
  ['[a]\nb = \\"\\\\\\t\\n\\b\n', 'a.b\n"\\\t\n\b'],
  ['[a]\nb = one \\\n  two\n', 'a.b\none   two'],
  ['[a]\nb = one\\\r\ntwo\r\nc\r\n', 'a.b\nonetwo', 'a.c'],
  ['[a]\nb = "x\r"\n', 'a.b\nx\r'],
  ['[a]\nb = x\r', 'a.b\nx'],
  ['[a]\nb = x\ry\n', 'a.b\nx\ry'],
  ['[a "q\\"\\\\\\x\r"]\nb=1\n', 'a.q"\\x\r.b\n1'],
  ['\xef\xbb\xbf[a]\nb\n', 'a.b'],
  ['[a] ; c\n# [x]\nb-2=1;\n', 'a.b-2\n1'],
  ['[a]b=\n', 'a.b\n'],
  ['[a]b = ""\n', 'a.b\n'],
  ['[a]b =  # nothing\n', 'a.b\n'],
  ['[a]\nb = c""  d"" \n', 'a.b\nc  d'],
  ['[a]\nb = a\\\n', 'a.b\na'],
  ['[a.b "c.d"]\nx\n', 'a.b.c.d.x'],
  ['', ...[]],
]

t.test('values are what git makes of them', async (t) => {
  for (const [text, ...values] of readable) {
    t.same(readByUs(text), values, JSON.stringify(text))
    t.same(withSpaces(await readByGit(text)), withSpaces(values), `git, ${JSON.stringify(text)}`)
  }
})

const unreadable: readonly (readonly [text: string, line: number, byGit?: number])[] = [
  ['[a', 1, 2],
  ['[a b]', 1],
  ['[a "b]\n', 1],
  ['[a "b"x]\n', 1],
  ['[a "b\n"]\n', 1],
  ['[a_b]\n', 1],
  ['\n[a]\n=x\n', 3],
  ['[a]\n1b = x\n', 2],
  ['[a]\nb c = x\n', 2],
  ['[a]\nb_c = x\n', 2],
  ['[a]\nb = "x\n', 2],
  ['[a]\nb = \\x\n', 2],
  ['[a]\nb = ok\n\n!\n', 4],
  ['\xef\xbb[a]\nb\n', 1],
  ['b ! x\n', 1],
]

t.test('what git cannot read has the line it stops at', async (t) => {
  for (const [text, line, byGit = line] of unreadable) {
    t.equal(readByUs(text), line, JSON.stringify(text))
    t.equal(await readByGit(text), byGit, `git, ${JSON.stringify(text)}`)
  }
})

t.test('keeps what came before the line', async (t) => {
  t.same(parseConfig('[a]\nb = 1\n[\n'), { values: [setting('a', undefined, 'b', '1')], badLine: 3 })
})

t.test('git reads the same in 400 damaged files', async (t) => {
  const whole = Buffer.from(
    '[sub "a \\"b\\\\c"]\r\n\tpath = "a b" # c\n\turl = ../x\\\n y\n\tupdate = none ; d\n[other]\n\tbare\n[sub.dotted]\nurl=https://h/x\n',
  )
  const below = seeded(5)
  const differing: string[] = []
  let readable = 0
  for (let i = 0; i < 400; i++) {
    const text = mutated(whole, below, [...Buffer.from('"\\\r\n[]=#;. \t')])
      .toString('latin1')
      .replaceAll('\0', '')
    const [ours, theirs] = [readByUs(text), await readByGit(text)]
    if (typeof ours !== 'number') readable++
    if (/\[\s*[\].]/.test(text)) continue // a section without a name: git keeps the dot, nobody looks
    // Where a line ends too soon git may count it already.
    const same =
      typeof ours === 'number' ? theirs === ours || theirs === ours + 1 : JSON.stringify(withSpaces(ours)) === JSON.stringify(withSpaces(theirs))
    if (!same) differing.push(`${JSON.stringify(text)}: ${JSON.stringify(ours)} ${JSON.stringify(theirs)}`)
  }
  t.same(differing.slice(0, 5), [])
  t.ok(readable > 100 && readable < 390, String(readable))
})
