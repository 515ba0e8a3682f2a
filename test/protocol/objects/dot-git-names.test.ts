import t from 'tap'
import { isDotGit, isDotGitattributes, isDotGitmodules } from '../../../protocol/objects/dot-git-names.js'
import { filler, fsck, refusedByUs, seeded } from '../../support/fsck.js'
import { nameOf, type Base } from '../../support/packs.js'

const bytesOf = (name: string): Buffer => Buffer.from(name, 'utf8')
const raw = (name: string): Buffer => Buffer.from(name, 'latin1')

/** A tree with a symbolic link of this name: all that git looks at is the name then. */
const linkNamed = (name: Buffer): Base => ({
  type: 2,
  data: Buffer.concat([Buffer.from('120000 '), name, Buffer.from([0]), Buffer.from(nameOf(filler), 'hex')]),
})

const is = (check: typeof isDotGit, name: Buffer): boolean => {
  // In the middle of other bytes that would complete the name or end it, so that reading past the ends shows.
  const around = Buffer.concat([Buffer.from('.g'), name, Buffer.from('it~1')])
  return check(around, 2, 2 + name.length)
}

const ignored = [
  ...[0x200c, 0x200d, 0x200e, 0x200f],
  ...[0x202a, 0x202b, 0x202c, 0x202d, 0x202e],
  ...[0x206a, 0x206b, 0x206c, 0x206d, 0x206e, 0x206f],
  0xfeff,
].map((point) => String.fromCodePoint(point))
const notIgnored = [0x200b, 0x2010, 0x2029, 0x202f, 0x2069, 0x2070, 0xfefe, 0xff00].map((point) => String.fromCodePoint(point))

const dotGits: Readonly<Record<string, readonly Buffer[]>> = {
  'by its own name': [bytesOf('.git')],
  'in other case': ['.GIT', '.Git', '.gIt', '.giT'].map(bytesOf),
  'with code points in it that HFS+ ignores': ignored.flatMap((c) =>
    [`${c}.git`, `.${c}git`, `.g${c}it`, `.gi${c}t`, `.git${c}`, `${c}${c}.G${c}iT`].map(bytesOf),
  ),
  'followed by bytes that are no UTF-8': [
    '.git\xff',
    '.git\xc0\x80',
    '.git\xe2\x80',
    '.git\xed\xa0\x80',
    '.git\xef\xbf\xbf',
    '.git\xf5\x80\x80\x80',
  ].map(raw),
  'by its short name on NTFS': ['git~1', 'GIT~1', 'Git~1', 'gIT~1'].map(bytesOf),
  'with trailing dots and spaces': ['.git.', '.git ', '.git. .', '.GIT...', '.git      ', 'git~1.', 'GIT~1 . '].map(bytesOf),
  'with an alternate stream': ['.git:x', '.git::$INDEX_ALLOCATION', '.git ..:y', 'git~1:', 'GIT~1::$DATA'].map(bytesOf),
  'behind or before a backslash': [
    'a\\.git',
    '\\.git',
    '.git\\',
    '.git\\config',
    'git~1\\x',
    'a\\b\\.GIT . ',
    'a\\git~1',
    '\\\\.git',
    'a\\.git:x',
  ].map(bytesOf),
}

const others = [
  ...[
    'git',
    '.gitx',
    '.gi',
    '.g',
    '.',
    '..',
    '...',
    'git~',
    'git~2',
    'git~10',
    'git1',
    '.git1',
    '.gitignore',
    '.gitkeep',
    'x.git',
    'a.git',
    '.git-x',
  ],
  ...['.git,', '.gıt', 'ｇit~1', '.git\u00a0', '.git\t', '..git', ' .git', 'a\\git', 'a\\', '\\', '.git/x'.slice(0, 3), 'foo\\.gitx', 'a:.git'],
  ...notIgnored.flatMap((c) => [`.g${c}it`, `${c}.git`, `.git${c}`]),
].map(bytesOf)

for (const [how, names] of Object.entries(dotGits)) {
  t.test(`.git ${how} is .git`, async (t) => {
    t.same(
      names.filter((name) => !is(isDotGit, name)),
      [],
    )
    for (const name of names) t.match(refusedByUs([linkNamed(name)]), /^bad-object: tree contains entry named .git: "/, name.toString('latin1'))
  })
}

t.test('other names are not', async (t) => {
  t.same(others.filter((name) => is(isDotGit, name)).map(String), [])
})

const modules = [
  ...['.gitmodules', '.GITMODULES', '.gitModules', '.gitmodules.', '.gitmodules ', '.gitmodules. . ', '.gitmodules:x', '.gitmodules::$DATA'],
  ...['gitmod~1', 'GITMOD~2', 'gitmod~3', 'gitmod~4', 'gitmod~4.', 'gitmod~1 :x'],
  ...['gi7eba~1', 'GI7EBA~9', 'gi7eb~10', 'gi7e~123', 'gi7~1234', 'gi~12345', 'g~123456', '~1234567', '~9999999', 'gi7eba~1. :'],
  ...ignored.flatMap((c) => [`${c}.gitmodules`, `.git${c}modules`, `.gitmodules${c}`]),
]
const noModules = [
  ...['gitmodules', '.gitmodule', '.gitmodulesx', '.gitmodules,', 'gitmod~0', 'gitmod~5', 'gitmod~', 'gitmod~1x', 'gitmod~10', 'gitmod~11'],
  ...['gi7eba~0', 'gi7eba~', 'gi7eba~1x', 'gi7eb~01', 'gi7eb~1', 'gi7eb~1a', 'gi7d29~1', '~0234567', '~123456', '~12345678', 'gi7eba1', 'g', '~'],
  ...notIgnored.flatMap((c) => [`.git${c}modules`, `.gitmodules${c}`]),
]
const attributes = [
  '.gitattributes',
  '.GitAttributes',
  'gitatt~1',
  'GITATT~4',
  'gi7d29~1',
  'gi7d2~12',
  '~1234567',
  '.gitattributes .',
  '.gitattributes:s',
  '.git\u200cattributes',
]
const noAttributes = ['gitattributes', '.gitattribute', '.gitattributes1', 'gitatt~5', 'gi7eba~1', 'gi7d29~0']

t.test('.gitmodules and .gitattributes are known in their disguises', async (t) => {
  const of = (check: typeof isDotGit, names: readonly string[]): string[] => names.filter((name) => is(check, bytesOf(name)))
  t.same(of(isDotGitmodules, modules), modules)
  t.same(of(isDotGitmodules, noModules), [])
  t.same(of(isDotGitattributes, attributes), attributes)
  t.same(of(isDotGitattributes, noAttributes), [])
  const behind = ['a\\.gitmodules', 'a\\b\\gitmod~1', '\\gi7eba~1']
  t.same(of(isDotGitmodules, behind), behind)
  t.ok(is(isDotGitattributes, bytesOf('a\\.gitattributes')))
})

/** Names made of pieces of the real ones: most are near misses. */
function inventedNames(count: number): Buffer[] {
  const below = seeded(20_240_611)
  const pieces = [
    ...[
      '.',
      'g',
      'i',
      't',
      'git',
      '.git',
      'G',
      'IT',
      'modules',
      'attributes',
      'mod',
      'att',
      '~',
      '~1',
      '~4',
      '~5',
      '1',
      '9',
      '0',
      'gi7eba',
      'gi7d29',
      'gi7',
    ],
    ...[' ', '. ', ':', '\\', 'x', '\x7f', '\u200c', '\u202e', '\ufeff', '\u200b', '\u206a', 'é', '\u{1f600}'],
  ].map(bytesOf)
  pieces.push(...['\xe2', '\xe2\x80', '\xef\xbb', '\xc0', '\xed\xa0\x80', '\xff', '\xf4\x90\x80\x80', '\xe0\x80\x80', '\xc2'].map(raw))
  const starts = ['.git', '.gitmodules', '.gitattributes', 'git~1', 'gitmod~1', 'gitatt~1', 'gi7eba~1', 'gi7d29~1', '~1234567', ''].map(bytesOf)
  const harmless = ['.', ' ', ':', '::x', '\\', '\u200c', '\ufeff'].map(bytesOf)
  return Array.from({ length: count }, () => {
    let name = starts[below(starts.length)]!
    for (let i = below(3); i >= 0; i--) {
      const atEnd = below(2) === 0
      const at = atEnd ? name.length : below(name.length + 1)
      const from = atEnd ? harmless : pieces
      name = Buffer.concat([name.subarray(0, at), from[below(from.length)]!, name.subarray(at + (below(4) >> 1))])
    }
    return name
  }).filter((name) => name.length > 0 && name.length < 256 && !name.includes(0) && !name.includes('/'))
}

t.test('git takes the same names for the same files: the table above, and 8,000 invented ones', async (t) => {
  const listed = [...Object.values(dotGits).flat(), ...others, ...[...modules, ...noModules, ...attributes, ...noAttributes].map(bytesOf)]
  const names = [...listed, ...inventedNames(8000)]
  const complaints = await fsck(names.map(linkNamed))
  const counts = { git: 0, modules: 0, attributes: 0 }
  const differing: string[] = []
  for (const name of names) {
    const of = complaints.get(nameOf(linkNamed(name))) ?? new Set()
    const theirs = [of.has('hasDotgit'), of.has('gitmodulesSymlink'), of.has('gitattributesSymlink')]
    const ours = [is(isDotGit, name), is(isDotGitmodules, name), is(isDotGitattributes, name)]
    // Git does not look for .gitattributes behind a backslash.
    if (name.includes('\\') && !theirs[2]) ours[2] = false
    if (theirs.join() !== ours.join()) differing.push(`${JSON.stringify(name.toString('latin1'))}: git ${theirs.join()}, we ${ours.join()}`)
    counts.git += Number(theirs[0])
    counts.modules += Number(theirs[1])
    counts.attributes += Number(theirs[2])
  }
  t.same(differing, [])
  t.ok(counts.git > 500 && counts.modules > 500 && counts.attributes > 500, JSON.stringify(counts))
})

t.test('a tree notices every such name, whatever byte it begins with', async (t) => {
  const names = inventedNames(8000)
  const passed = names.filter((name) => (is(isDotGit, name) || is(isDotGitmodules, name)) && refusedByUs([linkNamed(name)]) === '')
  t.same(passed.map(String), [])
})
