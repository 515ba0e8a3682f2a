import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { defaultAttributes } from '../../../src/repos/attributes.js'
import { foldersOf, isLfsPath, lfsLineFor, parseAttributes } from '../../../src/repos/lfs-attributes.js'
import { git } from '../../support/git.js'

/** What git itself says `filter` is for each path: the referee. */
async function gitSays(cwd: string, files: Readonly<Record<string, string>>, paths: readonly string[]): Promise<Map<string, boolean>> {
  await git(['init', '-q', cwd])
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(cwd, path)), { recursive: true })
    writeFileSync(join(cwd, path), text)
  }
  const { stdout } = await git(['check-attr', '-z', '--stdin', 'filter'], { cwd, input: Buffer.from(paths.map((path) => `${path}\0`).join('')) })
  const words = stdout.toString('utf8').split('\0')
  return new Map(paths.map((path, i) => [words[3 * i] ?? path, words[3 * i + 2] === 'lfs']))
}

const weSay = (files: Readonly<Record<string, string>>, path: string): boolean => {
  const parsed = Object.entries(files).map(([name, text]) => [foldersOf(name)[0]!, parseAttributes(Buffer.from(text))] as const)
  return isLfsPath(path, new Map(parsed))
}

async function compare(
  t: { testdir(): string; equal(a: unknown, b: unknown, message: string): unknown },
  files: Readonly<Record<string, string>>,
  paths: readonly string[],
) {
  const said = await gitSays(t.testdir(), files, paths)
  for (const [path, expected] of said) t.equal(weSay(files, path), expected, path)
  return said
}

t.test('as git does: the patterns of new repositories', async (t) => {
  const paths = [
    'model.safetensors',
    'a/b/model.bin',
    'README.md',
    'x.tar.gz',
    'x.tar.gz2',
    'saved_model/x',
    'saved_model/a/b/c',
    'saved_model',
    'a/saved_model/b',
    'tfevents',
    'a/my.tfevents.1',
    'x.lfs.y',
    '.bin',
    'bin',
    'A.BIN',
    'a.bin/x',
  ]
  const said = await compare(t, { '.gitattributes': defaultAttributes('model') }, paths)
  t.equal([...said.values()].filter(Boolean).length, 10)
})

t.test('as git does: every kind of pattern', async (t) => {
  const lines = [
    '# *.comment filter=lfs',
    '*.one filter=lfs',
    '/top filter=lfs',
    'folder/ filter=lfs',
    'a/*.b filter=lfs',
    '**/deep filter=lfs',
    'under/** filter=lfs',
    'm/**/n filter=lfs',
    's**t filter=lfs',
    '[a-c]x[!0-9] filter=lfs',
    '[[:digit:]][]y] filter=lfs',
    '[z filter=lfs',
    'q?r filter=lfs',
    'esc\\*aped filter=lfs',
    '"quoted\\tname \\303\\244" filter=lfs',
    '"plain quoted" filter=lfs',
    '\t  indented   filter=lfs   text',
    '!negated filter=lfs',
    '*.both filter=lfs',
    'not.both -filter',
    'un.both !filter',
    'other.both filter=other',
    'true.both filter',
    '[attr]big filter=lfs diff=lfs -text',
    '*.macro big',
    'crlf filter=lfs\r',
    `${'x'.repeat(2100)} filter=lfs`,
    'ünï filter=lfs',
    '*.last filter=lfs',
  ]
  const paths = [
    'x.comment',
    'x.one',
    'd/x.one',
    'top',
    'd/top',
    'folder/x',
    'folder',
    'a/x.b',
    'a/c/x.b',
    'x/a/x.b',
    'deep',
    'x/y/deep',
    'under/x',
    'under/x/y',
    'under',
    'm/n',
    'm/x/n',
    'm/x/y/n',
    'mn',
    's/t',
    'sxt',
    'st',
    'axb',
    'dxb',
    'ax1',
    'ax/',
    '1y',
    '1]',
    '1x',
    '[z',
    'qxr',
    'q/r',
    'qr',
    'esc*aped',
    'escxaped',
    'quoted\tname ä',
    'plain quoted',
    'plain',
    'indented',
    'negated',
    '!negated',
    'x.both',
    'not.both',
    'un.both',
    'other.both',
    'true.both',
    'x.macro',
    'crlf',
    'x'.repeat(2100),
    'ünï',
    'd/ünï',
    'x.last',
  ].filter((path) => !path.endsWith('/'))
  const said = await compare(t, { '.gitattributes': lines.join('\n') }, paths)
  t.equal(said.get('m/x/y/n'), true)
  t.equal(said.get('not.both'), false)
})

t.test('as git does: the folder next to the file has the last word', async (t) => {
  const files = {
    '.gitattributes': '*.bin filter=lfs\nd/x.txt filter=lfs\n',
    'd/.gitattributes': '*.bin -filter\ne/y.bin filter=lfs\n/z.txt filter=lfs\n',
    'd/e/.gitattributes': 'w.bin filter=lfs\n',
  }
  const said = await compare(t, files, ['a.bin', 'd/a.bin', 'd/x.txt', 'd/e/y.bin', 'd/e/w.bin', 'd/e/v.bin', 'd/z.txt', 'd/e/z.txt', 'f/a.bin'])
  t.same([...said.values()], [true, false, true, true, true, false, true, false, true])
})

t.test('the line for one file is about that file, and about no other', async (t) => {
  const names = [
    'plain',
    'a/b c',
    'sp  ace\u00a0x',
    'st*r',
    'q?',
    '[x]',
    'a!b',
    '!first',
    '#hash',
    'quo"te',
    '"q"',
    "it's",
    'ünï',
    'tr\u3000',
    '-dash',
    'a.b',
  ]
  for (const name of names) {
    const said = await gitSays(t.testdir({}), { '.gitattributes': lfsLineFor(name) }, [
      name,
      `d/${name}`,
      name.replace(/[*?]/, 'x') === name ? `${name}x` : name.replace(/[*?]/, 'x'),
      'x',
    ])
    t.same([...said.values()], [true, false, false, false], name)
    t.equal(weSay({ '.gitattributes': lfsLineFor(name) }, name), true, name)
  }
})

t.test('as git does: patterns that nobody would write', async (t) => {
  let seed = 42
  const pick = <T>(from: readonly T[]): T => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return from[(seed >>> 16) % from.length]!
  }
  const make = (letters: readonly string[], most: number) => Array.from({ length: 1 + pick([...Array(most).keys()]) }, () => pick(letters)).join('')
  const names = Array.from({ length: 60 }, () => make(['a', 'b', '/', '.', 'a/b', '/a', ']', '-'], 6)).filter(
    (path) => !/^\/|\/$|\/\/|(^|\/)\.\.?(\/|$)/.test(path),
  )
  const files: Record<string, string> = {}
  const paths: string[] = []
  for (let i = 0; i < 1000; i++) {
    const pattern = make(
      ['a', 'b', '*', '**', '?', '/', '/**', '**/', '[ab]', '[!a]', '[^b]', '[a-c]', '[]a]', '[]-a]', '[[:alpha:]]', '\\a', '\\*', '.', '['],
      6,
    )
    if (/^[!"]/.test(pattern)) continue
    files[`p${i}/.gitattributes`] = `${pattern} filter=lfs\n`
    paths.push(...names.map((name) => `p${i}/${name}`))
  }
  const said = await gitSays(t.testdir(), files, paths)
  const parsed = new Map(Object.entries(files).map(([name, text]) => [foldersOf(name)[0]!, parseAttributes(Buffer.from(text))] as const))
  const different = [...said]
    .filter(([path, isLfs]) => isLfsPath(path, parsed) !== isLfs)
    .map(([path, isLfs]) => `${files[`${path.split('/')[0]}/.gitattributes`]!.trim()} ${path} git: ${isLfs}`)
  t.same(different, [])
  t.ok([...said.values()].filter(Boolean).length > 500)
})

t.test('no pattern takes long', async (t) => {
  const hostile = `${'*a'.repeat(900)}b filter=lfs\n`.repeat(50)
  const began = performance.now()
  t.equal(weSay({ '.gitattributes': hostile }, 'a'.repeat(255)), false)
  t.equal(weSay({ '.gitattributes': `${'**/'.repeat(600)}b filter=lfs\n`.repeat(50) }, `${'a/'.repeat(120)}c`), false)
  t.ok(performance.now() - began < 5000)
  t.throws(() => parseAttributes(Buffer.alloc(1024 * 1024 + 1)), { code: 'invalid' })
})
