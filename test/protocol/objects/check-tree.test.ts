import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { checkTree, maxTreeEntries } from '../../../protocol/objects/check-tree.js'
import { filler, fillerCommit, fillerTree, fsck, mutated, refusedByGit, refusedByUs, seeded } from '../../support/fsck.js'
import { blob, nameOf, treeOf, type Base } from '../../support/packs.js'

const file = nameOf(filler)
const folder = nameOf(fillerTree)
const commit = nameOf(fillerCommit)
const zero = '0'.repeat(40)
const rawTree = (...parts: (string | Buffer)[]): Base => ({
  type: 2,
  data: Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))),
})
const oid = Buffer.from(file, 'hex')

/** What git does with the same: `refuses` it too, or `takes` it because it has no such rule. */
type Referee = 'refuses' | 'takes'

const refused: Readonly<Record<string, readonly (readonly [what: string, tree: Base, message: string, git?: Referee])[]>> = {
  'entries out of order': [
    ['files', treeOf(['100644', 'b', file], ['100644', 'a', file]), 'tree is not sorted at entry "a"'],
    ['a longer name first', treeOf(['100644', 'ab', file], ['100644', 'a', file]), 'tree is not sorted at entry "a"'],
    ['a directory sorts as if it ended in a slash', treeOf(['40000', 'a', folder], ['100644', 'a.b', file]), 'tree is not sorted at entry "a.b"'],
    ['a file does not', treeOf(['100644', 'a0', file], ['100644', 'a', file]), 'tree is not sorted at entry "a"'],
    ['bytes from 0x80 on come last', treeOf(['100644', 'é', file], ['100644', 'z', file]), 'tree is not sorted at entry "z"'],
  ],
  'one name twice': [
    ['files', treeOf(['100644', 'a', file], ['100755', 'a', file]), 'tree contains entry "a" twice'],
    ['directories', treeOf(['40000', 'a', folder], ['40000', 'a', folder]), 'tree contains entry "a" twice'],
    ['a file, then a directory', treeOf(['100644', 'a', file], ['40000', 'a', folder]), 'tree contains entry "a" twice'],
    ['a directory, then a file', treeOf(['40000', 'a', folder], ['100644', 'a', file]), 'tree contains entry "a" twice'],
    [
      'a file and a directory with others between',
      treeOf(['100644', 'a', file], ['100644', 'a-', file], ['100644', 'a.b', file], ['40000', 'a', folder]),
      'tree contains entry "a" twice',
    ],
    [
      'with other candidates between',
      treeOf(['100644', 'a', file], ['100644', 'a ', file], ['100644', 'a !', file], ['40000', 'a ', folder], ['40000', 'a', folder]),
      'tree contains entry "a " twice',
    ],
    [
      'the outer of two candidates',
      treeOf(['100644', 'a', file], ['100644', 'a ', file], ['40000', 'a !', folder], ['40000', 'a', folder]),
      'tree contains entry "a" twice',
    ],
    ['a link', treeOf(['120000', 'a', file], ['100644', 'a.', file], ['40000', 'a', folder]), 'tree contains entry "a" twice'],
    ['a submodule', treeOf(['160000', 'a', commit], ['100644', 'a.', file], ['40000', 'a', folder]), 'tree contains entry "a" twice'],
  ],
  'bad modes': [
    ['no digits', rawTree(' a\0', oid), 'tree entry "a" has mode 0'],
    ['none at all', rawTree('0 a\0', oid), 'tree entry "a" has mode 0', 'takes'],
    ['not octal', rawTree('100648 a\0', oid), 'tree entry 1 has a mode that is not octal digits and a space'],
    ['letters', rawTree('file a\0', oid), 'tree entry 1 has a mode that is not octal digits and a space'],
    ['a tab behind', rawTree('100644\ta\0', oid), 'tree entry 1 has a mode that is not octal digits and a space'],
    ['too long', rawTree('00100644 a\0', oid), 'tree entry 1 has a mode that is not octal digits and a space', 'takes'],
    ['over 16 bits', rawTree('1100644 a\0', oid), 'tree entry "a" has mode 1100644', 'takes'],
    ['a fifo', rawTree('10644 a\0', oid), 'tree entry "a" has mode 10644', 'takes'],
    ['a directory with permissions', treeOf(['40755', 'a', folder]), 'tree entry "a" has mode 40755', 'takes'],
    ['a link with permissions', treeOf(['120777', 'a', file]), 'tree entry "a" has mode 120777', 'takes'],
  ],
  'the null object id': [
    ['of a file', treeOf(['100644', 'a', zero]), 'tree entry "a" has the null object id'],
    ['of a directory', treeOf(['40000', 'a', zero]), 'tree entry "a" has the null object id'],
    ['of a submodule', treeOf(['160000', 'a', zero]), 'tree entry "a" has the null object id'],
  ],
  'names that are no names': [
    ['empty', rawTree('100644 \0', oid), 'tree contains an empty name'],
    ['.', treeOf(['40000', '.', folder]), 'tree contains entry named "."'],
    ['..', treeOf(['40000', '..', folder]), 'tree contains entry named ".."'],
    ['with a slash', treeOf(['100644', 'a/b', file]), 'tree contains a name with a slash: "a/b"'],
    ['that is a slash', treeOf(['100644', '/', file]), 'tree contains a name with a slash: "/"'],
    ['of 256 bytes', treeOf(['100644', 'x'.repeat(256), file]), `tree contains a name of 256 bytes, over 255: "${'x'.repeat(100)}"…`, 'takes'],
  ],
  '.git in any disguise': [
    ['itself', treeOf(['40000', '.git', folder]), 'tree contains entry named .git: ".git"'],
    ['case', treeOf(['40000', '.GiT', folder]), 'tree contains entry named .git: ".GiT"'],
    ['HFS+ ignorable code points', treeOf(['40000', '.g\u200cit', folder]), 'tree contains entry named .git: ".g\\u{200c}it"'],
    ['NTFS short name', treeOf(['40000', 'GIT~1', folder]), 'tree contains entry named .git: "GIT~1"'],
    ['trailing dots and spaces', treeOf(['40000', '.git . .', folder]), 'tree contains entry named .git: ".git . ."'],
    ['alternate stream', treeOf(['40000', '.git::$INDEX_ALLOCATION', folder]), 'tree contains entry named .git: ".git::$INDEX_ALLOCATION"'],
    ['backslash', treeOf(['100644', 'a\\.git\\config', file]), 'tree contains entry named .git: "a\\\\.git\\\\config"'],
    ['as a file', treeOf(['100644', '.git', file]), 'tree contains entry named .git: ".git"'],
    ['as a link', treeOf(['120000', 'git~1', file]), 'tree contains entry named .git: "git~1"'],
    [
      'not the first of its tree',
      treeOf(['100644', '.a', file], ['40000', '.git', folder], ['100644', 'z', file]),
      'tree contains entry named .git: ".git"',
    ],
  ],
  '.gitmodules as something other than a file': [
    ['a link', treeOf(['120000', '.gitmodules', file]), 'tree contains a .gitmodules that is a symbolic link: ".gitmodules"'],
    ['a disguised link', treeOf(['120000', 'GITMOD~1', file]), 'tree contains a .gitmodules that is a symbolic link: "GITMOD~1"'],
    [
      'a link behind a backslash',
      treeOf(['120000', 'a\\.gitmodules', file]),
      'tree contains a .gitmodules that is a symbolic link: "a\\\\.gitmodules"',
    ],
    ['a directory', treeOf(['40000', '.gitmodules', folder]), 'tree contains a .gitmodules that is not a file: ".gitmodules"'],
    ['a submodule', treeOf(['160000', '.gitmodules', commit]), 'tree contains a .gitmodules that is not a file: ".gitmodules"'],
    [
      'a directory named .gitattributes',
      treeOf(['40000', '.gitattributes', folder]),
      'tree contains a .gitattributes that is not a file: ".gitattributes"',
    ],
  ],
  'trees that are cut off': [
    ['in the mode', rawTree('1006'), 'tree entry 1 has a mode that is not octal digits and a space'],
    ['in the name', rawTree('100644 abc'), 'tree is cut off in entry 1'],
    ['before the oid', rawTree('100644 abc\0'), 'tree is cut off in entry 1'],
    ['in the oid', rawTree('100644 abc\0', oid.subarray(1)), 'tree is cut off in entry 1'],
    ['in the second entry', rawTree('100644 a\0', oid, '100644 b\0', oid.subarray(0, 3)), 'tree is cut off in entry 2'],
  ],
}

for (const [what, cases] of Object.entries(refused)) {
  t.test(`refuses ${what}`, async (t) => {
    for (const [which, tree, message, referee = 'refuses'] of cases) {
      t.equal(refusedByUs([tree]), `bad-object: ${message}`, which)
      const theirs = await refusedByGit([tree])
      t.equal(theirs === '' ? 'takes' : 'refuses', referee, `git ${referee} ${which}: ${theirs}`)
    }
  })
}

t.test('takes what git takes, and the slips of old histories', async (t) => {
  const cases: readonly (readonly [what: string, tree: Base])[] = [
    ['an empty tree', treeOf()],
    ['every mode', treeOf(['100644', 'a', file], ['100755', 'b', file], ['120000', 'c', file], ['40000', 'd', folder], ['160000', 'e', commit])],
    ['zero-padded modes', rawTree('040000 a\0', Buffer.from(folder, 'hex'), '0100644 b\0', oid)],
    ['group-writable files', treeOf(['100664', 'a', file])],
    ['other permissions', treeOf(['100600', 'a', file], ['100777', 'b', file])],
    [
      'a directory between files of nearly its name',
      treeOf(['100644', 'a-', file], ['100644', 'a.b', file], ['40000', 'a', folder], ['100644', 'a0', file]),
    ],
    ['a file with a byte below the slash behind its name', treeOf(['100644', 'a', file], ['40000', 'a!', folder], ['100644', 'a.', file])],
    ['names in any bytes', rawTree('100644 \x01\xff\x80\0', oid, '100644 "\0', oid)],
    ['a name of 255 bytes', treeOf(['100644', 'x'.repeat(255), file])],
    ['names with backslashes and colons', treeOf(['100644', 'C:\\temp', file], ['100644', 'a:b', file], ['100644', 'x\\', file])],
    ['.gitignore, .gitkeep', treeOf(['100644', '.gitignore', file], ['100644', '.gitkeep', file])],
    ['a link named .gitattributes', treeOf(['120000', '.gitattributes', file])],
    ['names with three dots and trailing ones', treeOf(['100644', '...', file], ['100644', 'con.', file])],
  ]
  for (const [what, tree] of cases) {
    t.equal(refusedByUs([tree]), '', what)
    t.equal(await refusedByGit([tree]), '', `git takes ${what}`)
  }
  t.match(await refusedByGit([cases[2]![1]], { forgive: false }), /zeroPaddedFilemode/)
})

t.test('tells of all it names with the types they must have, submodules apart', async (t) => {
  const { data } = treeOf(
    ['100644', 'a', '11'.repeat(20)],
    ['40000', 'b', '22'.repeat(20)],
    ['120000', 'c', '33'.repeat(20)],
    ['160000', 'd', '44'.repeat(20)],
  )
  const told: string[] = []
  checkTree(
    data,
    (bytes, at, expect) => told.push(`${bytes[at]!.toString(16)} ${expect}`),
    () => t.fail('nothing special here'),
  )
  t.same(told, ['11 4', '22 2', '33 4'])
})

t.test('tells of every .gitmodules and .gitattributes, and of a name that may be either', async (t) => {
  const special = ['.gitattributes', '.gitmodules', 'gi7d29~1', 'gitmod~2', 'x\\.gitmodules', '~1234567']
  const { data } = treeOf(...special.map((name): [string, string, string] => ['100644', name, file]))
  const told: string[] = []
  checkTree(
    data,
    () => {},
    (kind, bytes, at) => told.push(`${kind} ${Buffer.from(bytes.subarray(at, at + 20)).equals(oid)}`),
  )
  const modules = 'gitmodules true'
  const attributes = 'gitattributes true'
  t.same(told, [attributes, modules, attributes, modules, modules, modules, attributes])
})

t.test('a million entries and no more', async (t) => {
  const names = Array.from({ length: maxTreeEntries + 1 }, (_, i) => Buffer.concat([Buffer.from(`100644 ${String(i).padStart(8, '0')}\0`), oid]))
  const ignore = (): void => {}
  checkTree(Buffer.concat(names.slice(1)), ignore, ignore)
  t.throws(() => checkTree(Buffer.concat(names), ignore, ignore), { code: 'bad-object', message: 'tree has more than 1000000 entries' })
})

t.test('200,000 long names that look alike are judged in seconds', async (t) => {
  const files = Array.from({ length: 200_000 }, (_, i) =>
    Buffer.concat([Buffer.from(`100644 a${'!'.repeat(1 + (i % 200))}${String(i).padStart(6, '0')}\\\0`), oid]),
  )
  const data = Buffer.concat(files.toSorted((a, b) => Buffer.compare(a, b)))
  const started = performance.now()
  checkTree(
    data,
    () => {},
    () => {},
  )
  t.ok(performance.now() - started < 3000)
})

/** Random entries over few letters: duplicates and near misses abound. */
function inventedTrees(count: number): Base[] {
  const below = seeded(7)
  const letters = ['a', 'b', '!', '.', '0']
  return Array.from({ length: count }, () => {
    const entries = Array.from({ length: 1 + below(7) }, (): [string, string, string] => {
      const name = `a${Array.from({ length: below(4) }, () => letters[below(letters.length)]).join('')}`
      return below(3) === 0 ? ['40000', name, folder] : ['100644', name, file]
    })
    const key = ([mode, name]: [string, string, string]): string => (mode === '40000' ? `${name}/` : name)
    entries.sort((a, b) => (key(a) < key(b) ? -1 : 1))
    if (below(8) === 0) entries.reverse()
    return treeOf(...entries)
  })
}

t.test('git finds the same trees unsorted or with duplicates, of 3,000 invented ones', async (t) => {
  const trees = inventedTrees(3000)
  const complaints = await fsck(trees)
  const ours = trees.map((tree) => refusedByUs([tree]))
  const differing = trees.filter((tree, i) => {
    const theirs = complaints.get(nameOf(tree))
    const expected =
      theirs === undefined ? /^$/ : theirs.has('treeNotSorted') ? /sorted|twice/ : theirs.has('duplicateEntries') ? /twice/ : /not this/
    return !expected.test(ours[i]!)
  })
  t.same(
    differing.map(({ data }) => Buffer.from(data).toString('latin1')),
    [],
  )
  t.ok(ours.filter((said) => said === '').length > 300)
  t.ok(ours.filter((said) => said.endsWith('twice')).length > 300)
})

t.test('a tree cut off at any length is refused, but between entries', async (t) => {
  const { data } = treeOf(['100644', '.gitmodules', file], ['100755', 'b', file], ['40000', 'dir', folder])
  const taken: number[] = []
  for (let length = 0; length < data.length; length++) if (refusedByUs([{ type: 2, data: data.subarray(0, length) }]) === '') taken.push(length)
  t.same(taken, [0, 39, 68])
})

t.test('10,000 damaged trees: only ProtocolErrors, and git refuses nothing that passes', async (t) => {
  const below = seeded(11)
  const whole = [
    treeOf(
      ['100644', '.gitattributes', file],
      ['100644', '.gitmodules', file],
      ['120000', 'a\\b', file],
      ['40000', 'dir', folder],
      ['160000', 'sub', commit],
    ).data,
    treeOf(['100644', 'a', file], ['100644', 'a-b', file], ['40000', 'a0', folder], ['100755', 'git~2', file]).data,
  ]
  const passed: Base[] = []
  for (let i = 0; i < 10_000; i++) {
    const tree = { type: 2, data: mutated(whole[i % 2]!, below, [...Buffer.from('0 \0.g/\\~:1')]) } as const
    if (refusedByUs([tree, blob('filler\n')]) === '') passed.push(tree)
  }
  const complaints = await fsck(passed)
  // Damaged oids name nothing: that is for the connectivity check, as is a .gitmodules that is not there.
  const others = [...complaints.values()]
    .flatMap((of) => [...of])
    .filter((name) => !/^(gitmodules|gitattributes)Missing$|^zeroPaddedFilemode$|^badFilemode$|^broken$/.test(name))
  t.same([...new Set(others)], [])
  t.ok(passed.length > 300, String(passed.length))
})

t.test('what is thrown is a ProtocolError', async (t) => {
  t.throws(
    () =>
      checkTree(
        Buffer.from('x'),
        () => {},
        () => {},
      ),
    ProtocolError,
  )
})
