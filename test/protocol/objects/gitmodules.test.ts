import t from 'tap'
import { checkGitmodules } from '../../../protocol/objects/gitmodules.js'
import { mutated, refusedByGit, refusedByUs, seeded } from '../../support/fsck.js'
import { nameOf, treeOf, type Base } from '../../support/packs.js'

/** A tree with such a file in it, under whatever name. */
const withModules = (content: string | Buffer, name = '.gitmodules'): Base[] => {
  const file: Base = { type: 3, data: Buffer.from(content) }
  return [file, treeOf(['100644', name, nameOf(file)])]
}
const submodule = (line: string): string => `[submodule "lib"]\n\tpath = lib\n\t${line}\n`
const url = (value: string): string => submodule(`url = "${value}"`)

type Referee = 'refuses' | 'takes'
type Case = readonly [content: string, message: string, git?: Referee]

const urlRefused = (value: string, git?: Referee, shown = value): Case => [
  url(value),
  `has the disallowed submodule url ${JSON.stringify(shown)}`,
  git ?? 'refuses',
]
const nameRefused = (name: string, shown = name): Case => [
  `[submodule "${name}"]\n\tpath = lib\n`,
  `has the disallowed submodule name ${JSON.stringify(shown)}`,
]

const refused: Readonly<Record<string, readonly Case[]>> = {
  'names that climb out of .git/modules': [
    nameRefused(''),
    nameRefused('..'),
    nameRefused('../x'),
    nameRefused('a/..'),
    nameRefused('a/../b'),
    nameRefused('..\\\\x', '..\\x'),
    nameRefused('a\\\\..\\\\b', 'a\\..\\b'),
    ['[submodule "a/../../.git"]\nurl\n', 'has the disallowed submodule name "a/../../.git"'],
    ['[SubModule "../x"]\nsomething = else\n', 'has the disallowed submodule name "../x"'],
  ],
  'addresses and paths that git would take for an option': [
    urlRefused('-u./payload'),
    urlRefused('--upload-pack=touch x'),
    [submodule('path = -x'), 'has the disallowed submodule path "-x"'],
    [submodule('path = --help'), 'has the disallowed submodule path "--help"'],
  ],
  'addresses with a newline': [
    urlRefused('https://host/%0aa'),
    urlRefused('https://host/a%0Ab'),
    urlRefused('http://us%0aer@host/'),
    urlRefused('https://host\\nx/', 'refuses', 'https://host\nx/'),
    urlRefused('./%0ahost=x'),
    urlRefused('../a%0ab'),
    urlRefused('https::https://host/%0a'),
    urlRefused('ssh://host/%0a', 'takes'),
  ],
  'addresses without a host, or that take the host of another': [
    urlRefused('https://'),
    urlRefused('https:///x'),
    urlRefused('http://?x'),
    urlRefused('https::host/x'),
    urlRefused('https::'),
    urlRefused('ftp::host'),
    urlRefused('HTTPS:///x', 'takes'),
    urlRefused('../:host/x'),
    urlRefused('.././../:x'),
    urlRefused('..//host/x'),
    urlRefused('../../../:example.com/x'),
    urlRefused('..\\\\:host', 'refuses', '..\\:host'),
  ],
  commands: [
    [submodule('update = !touch x'), 'has the disallowed submodule update setting "!touch x"'],
    [submodule('update = "!x"'), 'has the disallowed submodule update setting "!x"'],
    [submodule('UPDATE=!'), 'has the disallowed submodule update setting "!"'],
  ],
  'a carriage return at the end of a path': [
    [submodule('path = "lib\r"'), 'has the disallowed submodule path "lib\\r"', 'takes'],
    ['[submodule "x"]\r\n\tpath = "x\r"\r\n', 'has the disallowed submodule path "x\\r"', 'takes'],
  ],
  'what git cannot read': [
    ['[submodule "x', 'cannot be read at line 1', 'takes'],
    ['[submodule "x"]\npath = "unfinished\n', 'cannot be read at line 2', 'takes'],
    ['[submodule "x"]\n\n= y\n', 'cannot be read at line 3', 'takes'],
    ['<<<<<<< HEAD\n', 'cannot be read at line 1', 'takes'],
    ['[submodule "x"]\n\0', 'has a NUL byte in it', 'takes'],
  ],
}

for (const [what, cases] of Object.entries(refused)) {
  t.test(`refuses ${what}`, async (t) => {
    for (const [content, message, referee = 'refuses'] of cases) {
      const name = JSON.stringify(content)
      t.equal(refusedByUs(withModules(content)), `bad-object: .gitmodules ${message}`, name)
      const theirs = await refusedByGit(withModules(content))
      t.equal(theirs === '' ? 'takes' : 'refuses', referee, `git ${referee} ${name}: ${theirs}`)
    }
  })
}

t.test('a disguised file is read as well', async (t) => {
  for (const name of ['gitmod~1', '.GITMODULES', '.gitmodules .', 'a\\.gitmodules', '.git\u200cmodules', 'GI7EBA~1']) {
    const objects = withModules(submodule('update = !x'), name)
    t.match(refusedByUs(objects), /disallowed submodule update/, name)
    t.match(await refusedByGit(objects), /gitmodulesUpdate/, `git, ${name}`)
  }
})

t.test('takes what real projects have', async (t) => {
  const cases = [
    '',
    '# only a comment\n',
    '[submodule.a]\npath = x\n',
    submodule('url = https://example.com/lib.git'),
    submodule('url = ../lib.git'),
    submodule('url = ../../other/lib'),
    submodule('url = ./lib'),
    submodule('url = ../'),
    submodule('url = git@example.com:a/b.git'),
    submodule('url = ssh://git@example.com:22/a'),
    submodule('url = git://example.com/a'),
    submodule('url = /srv/git/a'),
    submodule('url = C:\\\\repos\\\\a'),
    submodule('url = https://user:word@example.com:8443/a%20b?x#y'),
    submodule('url = https::https://example.com/a'),
    submodule('url = http::http://example.com'),
    submodule('url'),
    submodule('url ='),
    submodule('update = rebase'),
    submodule('update = none\n\tbranch = .\n\tignore = dirty\n\tshallow = true\n\tfetchRecurseSubmodules'),
    '\ufeff[submodule "a b/c.d"]\r\n\tpath = "a b/c.d" ; why\r\n\turl = ../c\r\n',
    '[submodule "..."]\npath = x/..y/...\n[submodule "a..b"]\npath = y\n[submodule "x/...y"]\n',
    '[submodule]\n\tpath = -x\n[other "../x"]\n\turl = -y\n[submodule "z"] url = https://e.org/x',
    '[submodule "a"]\n\tpath = lib\r\n',
  ]
  for (const content of cases) {
    t.equal(refusedByUs(withModules(content)), '', JSON.stringify(content))
    t.equal(await refusedByGit(withModules(content)), '', `git, ${JSON.stringify(content)}`)
  }
})

t.test('a file over 1 MiB is not read at all', async (t) => {
  const line = '# padding to make it long\n'
  checkGitmodules(Buffer.from(line.repeat(2 ** 20 / line.length)))
  t.throws(() => checkGitmodules(Buffer.alloc(2 ** 20 + 1, line)), { code: 'bad-object', message: '.gitmodules of 1048577 bytes is over 1048576' })
})

t.test('whatever git refuses of 400 invented addresses is refused', async (t) => {
  const below = seeded(404)
  const pieces = [
    'https://',
    'http://',
    'https::',
    '../',
    './',
    ':',
    '/',
    '//',
    '@',
    'host',
    '%0a',
    '%',
    '%41',
    '%zz',
    '?',
    '#',
    ':80',
    ':99999',
    'x',
    '..',
    '-',
    ' ',
    '[::1]',
    '~',
    '.',
    'é',
  ]
  const starts = ['https://', 'https://host', 'http::http://host/', '../', '']
  const lax: string[] = []
  const counts = { git: 0, us: 0 }
  for (let i = 0; i < 400; i++) {
    const value = starts[below(starts.length)]! + Array.from({ length: 1 + below(4) }, () => pieces[below(pieces.length)]).join('')
    const objects = withModules(url(value))
    const ours = refusedByUs(objects)
    const theirs = await refusedByGit(objects)
    if (ours === '' && theirs !== '') lax.push(value)
    if (ours !== '') counts.us++
    if (theirs !== '') counts.git++
  }
  t.same(lax, [])
  t.ok(counts.git > 50 && counts.us < 350, JSON.stringify(counts))
})

t.test('10,000 damaged files: only ProtocolErrors', async (t) => {
  const whole = Buffer.from(
    '\ufeff[submodule "a \\"b\\\\c"]\r\n\tpath = "a b" # c\n\turl = ../x\\\n y\n\tupdate = none ; d\n[other]\n\tbare\n[submodule.dotted]\nurl=https://h/x\n',
  )
  const below = seeded(3)
  let passed = 0
  for (let i = 0; i < 10_000; i++) {
    if (
      refusedByUs([
        { type: 2, data: withModules('')[1]!.data },
        ...withModules(mutated(whole, below, [...Buffer.from('"\\\r\n[]=#;. \t!-:/%0\0')])),
      ]) === ''
    )
      passed++
  }
  t.ok(passed > 500 && passed < 9500, String(passed))
  for (let length = 0; length <= whole.length; length++) refusedByUs(withModules(whole.subarray(0, length)))
})
