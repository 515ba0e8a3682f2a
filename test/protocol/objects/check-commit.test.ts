import t from 'tap'
import { checkCommit } from '../../../protocol/objects/check-commit.js'
import { fillerCommit, fillerTree, fsck, mutated, refusedByGit, refusedByUs, seeded } from '../../support/fsck.js'
import { nameOf, type Base } from '../../support/packs.js'

const tree = `tree ${nameOf(fillerTree)}\n`
const parent = `parent ${nameOf(fillerCommit)}\n`
const author = 'author A U Thor <author@example.com> 1700000000 +0100\n'
const committer = 'committer C O Mitter <committer@example.com> 1700000000 -0330\n'
const object = (text: string): Base => ({ type: 1, data: Buffer.from(text, 'latin1') })
const by = (ident: string): string => `${tree}author ${ident}\n${committer}\nm\n`
const zero = '0'.repeat(40)

type Case = readonly [what: string, text: string, message: string, git?: 'refuses' | 'takes']

const refused: Readonly<Record<string, readonly Case[]>> = {
  'missing lines and lines out of order': [
    ['empty', '', 'commit has a header that does not end'],
    ['only an empty line', '\n', "commit does not begin with a 'tree' line"],
    ['no tree', `${author}${committer}\nm\n`, "commit does not begin with a 'tree' line"],
    ['parent before tree', `${parent}${tree}${author}${committer}\nm\n`, "commit does not begin with a 'tree' line"],
    ['no author', `${tree}${committer}\nm\n`, "commit has no 'author' line where it belongs"],
    ['no author, no committer', `${tree}\nm\n`, "commit has no 'author' line where it belongs"],
    ['parent behind author', `${tree}${author}${parent}${committer}\nm\n`, "commit has no 'committer' line where it belongs"],
    ['no committer', `${tree}${author}\nm\n`, "commit has no 'committer' line where it belongs"],
    ['no committer, but one in the message', `${tree}${author}\n${committer}`, "commit has no 'committer' line where it belongs"],
    ['committer first', `${tree}${committer}${author}\nm\n`, "commit has no 'author' line where it belongs"],
    ['two authors', `${tree}${author}${author}${committer}\nm\n`, "commit has more than one 'author' line"],
    ['no body and no end', `${tree}${author}${committer.trimEnd()}`, 'commit has a header that does not end'],
  ],
  'oids that are none': [
    ['short tree', `tree 1234\n${author}${committer}\nm\n`, 'the tree of the commit is not 40 hex digits on a line'],
    ['long tree', `tree ${nameOf(fillerTree)}0\n${author}${committer}\nm\n`, 'the tree of the commit is not 40 hex digits on a line'],
    ['letters', `tree ${'g'.repeat(40)}\n${author}${committer}\nm\n`, 'the tree of the commit is not 40 hex digits on a line'],
    ['null tree', `tree ${zero}\n${author}${committer}\nm\n`, 'the tree of the commit is the null object id'],
    ['null parent', `${tree}parent ${zero}\n${author}${committer}\nm\n`, 'a parent of the commit is the null object id'],
    ['short parent', `${tree}parent 12\n${author}${committer}\nm\n`, 'a parent of the commit is not 40 hex digits on a line'],
    [
      'capitals',
      `tree ${nameOf(fillerTree).toUpperCase()}\n${author}${committer}\nm\n`,
      'the tree of the commit is not 40 hex digits on a line',
      'takes',
    ],
  ],
  'a NUL': [
    [
      'in the header',
      `${tree}${author}${committer}x \0\n\nm\n`,
      `commit has a NUL byte in its header, at byte ${tree.length + author.length + committer.length + 2}`,
    ],
    ['in an ident', by('A \0 <a@b> 1 +0000'), `commit has a NUL byte in its header, at byte ${tree.length + 9}`],
    ['in the message', `${tree}${author}${committer}\nm\0\n`, 'commit has a NUL byte in its message'],
  ],
  'malformed idents': [
    ['a closing bracket in the name', by('A > B <a@b> 1 +0000'), 'author line has a bad name: "A > B <a@b> 1 +0000"'],
    ['no closing bracket', by('A <a@b 1 +0000'), 'author line has a bad email: "A <a@b 1 +0000"'],
    ['two opening brackets', by('A <a<b> 1 +0000'), 'author line has a bad email: "A <a<b> 1 +0000"'],
    ['two addresses', by('A <a@b> <c@d> 1 +0000'), 'author line has a bad date: "A <a@b> <c@d> 1 +0000"'],
    ['only spaces', by('A <a@b>   '), 'author line has a bad date: "A <a@b>   "'],
    ['a tab before the date', by('A <a@b> \t1 +0000'), 'author line has a bad date: "A <a@b> \\t1 +0000"', 'takes'],
    ['a sign before the date', by('A <a@b> +1 +0000'), 'author line has a bad date: "A <a@b> +1 +0000"', 'takes'],
    ['no date', by('A <a@b> '), 'author line has a bad date: "A <a@b> "'],
    ['a date of letters', by('A <a@b> now +0000'), 'author line has a bad date: "A <a@b> now +0000"'],
    ['a date without a zone', by('A <a@b> 123'), 'author line has a bad date: "A <a@b> 123"'],
    ['a negative date', by('A <a@b> -1 +0000'), 'author line has a bad date: "A <a@b> -1 +0000"'],
    ['a zero-padded date', by('A <a@b> 0123 +0000'), 'author line has a date that begins with a zero: "A <a@b> 0123 +0000"'],
    ['two zeros', by('A <a@b> 00 +0000'), 'author line has a date that begins with a zero: "A <a@b> 00 +0000"'],
    ['a bad committer', `${tree}${author}committer A <a@b> x\n\nm\n`, 'committer line has a bad date: "A <a@b> x"'],
  ],
  'dates that overflow': [
    ['64 bits', by('A <a@b> 18446744073709551616 +0000'), 'author line has a date over 8640000000000: "A <a@b> 18446744073709551616 +0000"'],
    ['63 bits', by('A <a@b> 9223372036854775808 +0000'), 'author line has a date over 8640000000000: "A <a@b> 9223372036854775808 +0000"'],
    ['hundreds of digits', by(`A <a@b> ${'9'.repeat(400)} +0000`), `author line has a date over 8640000000000: "A <a@b> ${'9'.repeat(92)}"…`],
    ['what a Date can hold', by('A <a@b> 8640000000001 +0000'), 'author line has a date over 8640000000000: "A <a@b> 8640000000001 +0000"', 'takes'],
    [
      'without a space before it',
      by('A <a@b>99999999999999999999 +0000'),
      'author line has a date over 8640000000000: "A <a@b>99999999999999999999 +0000"',
      'takes',
    ],
  ],
}

for (const [what, cases] of Object.entries(refused)) {
  t.test(`refuses ${what}`, async (t) => {
    for (const [which, text, message, referee = 'refuses'] of cases) {
      t.equal(refusedByUs([object(text)]), `bad-object: ${message}`, which)
      const theirs = await refusedByGit([object(text)])
      t.equal(theirs === '' ? 'takes' : 'refuses', referee, `git ${referee} ${which}: ${theirs}`)
    }
  })
}

t.test('takes what git takes, and the slips of old histories', async (t) => {
  const cases: readonly (readonly [what: string, text: string, git?: string])[] = [
    ['a root commit', `${tree}${author}${committer}\nm\n`],
    ['a merge of three', `${tree}${parent.repeat(3)}${author}${committer}\nm\n`],
    ['no message', `${tree}${author}${committer}\n`],
    ['no body', `${tree}${author}${committer}`],
    ['other headers', `${tree}${author}${committer}encoding latin1\ngpgsig -----BEGIN\n \n abc\n -----END\nx\n\n\xe4\n`],
    ['a second committer', `${tree}${author}${committer}${committer}\nm\n`],
    ['an empty name', by(' <a@b> 1 +0000')],
    ['an empty address', by('A <> 1 +0000')],
    ['1970', by('A <a@b> 0 +0000')],
    ['the last second of a Date', by('A <a@b> 8640000000000 +0000')],
    ['names of any bytes', by('\xff\x01 <\xfe> 1 +0000')],
    ['two spaces before the date', by('A <a@b>  1 +0000')],
    ['two spaces before the zone', by('A <a@b> 1  +0000'), ''],
    ['badTimezone', by('A <a@b> 1 0000'), ''],
    ['badTimezone, long', by('A <a@b> 1 +051800'), ''],
    ['badTimezone, letters', by('A <a@b> 1 GMT'), ''],
    ['badTimezone, none', by('A <a@b> 1 '), ''],
    ['missingSpaceBeforeDate', by('A <a@b>1 +0000'), ''],
    ['missingSpaceBeforeDate, no date at all', by('A <a@b>'), ''],
    ['missingEmail', by('A'), ''],
    ['missingEmail, with a date', by('A 1 +0000'), ''],
    ['missingNameBeforeEmail', by('<a@b> 1 +0000'), 'missingNameBeforeEmail'],
    ['missingSpaceBeforeEmail', by('A<a@b> 1 +0000'), 'missingSpaceBeforeEmail'],
  ]
  for (const [what, text, git] of cases) {
    t.equal(refusedByUs([object(text)]), '', what)
    const said = await refusedByGit([object(text)])
    if (git) t.match(said, git, `git is stricter: ${what}`)
    else t.equal(said, '', `git forgives ${what}`)
    if (git === '')
      t.match(await refusedByGit([object(text)], { forgive: false }), /^error: object .*(badTimezone|missingSpaceBeforeDate|missingEmail)/s)
  }
})

t.test('tells of its tree and its parents', async (t) => {
  const told: string[] = []
  const data = Buffer.from(
    `tree ${'11'.repeat(20)}\nparent ${'22'.repeat(20)}\nparent ${'33'.repeat(20)}\n${author}${committer}\nparent ${'44'.repeat(20)}\n`,
  )
  checkCommit(data, (bytes, at, expect) => told.push(`${Buffer.from(bytes.subarray(at, at + 20)).toString('hex')} ${expect}`))
  t.same(told, [`${'11'.repeat(20)} 2`, `${'22'.repeat(20)} 1`, `${'33'.repeat(20)} 1`])
})

t.test('cut off at any length before its body it is refused', async (t) => {
  const text = `${tree}${parent}${author}${committer}\nmessage\n`
  const header = text.indexOf('\n\n') + 1
  const taken: number[] = []
  for (let length = 0; length < text.length; length++) if (refusedByUs([object(text.slice(0, length))]) === '') taken.push(length)
  t.same(
    taken,
    Array.from({ length: text.length - header }, (_, i) => header + i),
  )
})

t.test('10,000 damaged commits: only ProtocolErrors, and git refuses nothing that passes but what the hub forgives', async (t) => {
  const below = seeded(21)
  const whole = Buffer.from(`${tree}${parent}${author}${committer}gpgsig a\n b\n\nm\n`)
  const passed: Base[] = []
  for (let i = 0; i < 10_000; i++) {
    const commit: Base = { type: 1, data: mutated(whole, below, [...Buffer.from('<> \n\0+-0159afAF\nauthor ')]) }
    if (refusedByUs([commit]) === '') passed.push(commit)
  }
  const forgiven = /^(badTimezone|missingSpaceBefore(Date|Email)|missingEmail|missingNameBeforeEmail|broken|missingTree|badTree)$/
  const complaints = [...(await fsck(passed.slice(0, 2500))).values()].flatMap((of) => [...of])
  t.same([...new Set(complaints.filter((name) => !forgiven.test(name)))], [])
  t.ok(passed.length > 1000 && passed.length < 9000, String(passed.length))
})
