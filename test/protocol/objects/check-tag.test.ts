import t from 'tap'
import { checkTag } from '../../../protocol/objects/check-tag.js'
import { filler, fillerCommit, fillerTree, fsck, mutated, refusedByGit, refusedByUs, seeded } from '../../support/fsck.js'
import { nameOf, type Base } from '../../support/packs.js'

const object = `object ${nameOf(fillerCommit)}\n`
const type = 'type commit\n'
const name = 'tag v1.0\n'
const tagger = 'tagger T A Gger <tagger@example.com> 1700000000 +0000\n'
const tag = (text: string): Base => ({ type: 4, data: Buffer.from(text, 'latin1') })

const refused: readonly (readonly [what: string, text: string, message: string, git?: 'refuses' | 'takes'])[] = [
  ['empty', '', 'tag has a header that does not end'],
  ['no object', `${type}${name}${tagger}\nm\n`, "tag does not begin with an 'object' line"],
  ['an oid that is none', `object 123\n${type}${name}${tagger}\nm\n`, 'the object of the tag is not 40 hex digits on a line'],
  ['the null object id', `object ${'0'.repeat(40)}\n${type}${name}${tagger}\nm\n`, 'the object of the tag is the null object id'],
  ['no type', `${object}${name}${tagger}\nm\n`, "tag has no 'type' line where it belongs"],
  ['only an object', object, "tag has no 'type' line where it belongs"],
  ['an unknown type', `${object}type thing\n${name}${tagger}\nm\n`, 'tag has an object of the unknown type "thing"'],
  ['nearly a type', `${object}type commits\n${name}${tagger}\nm\n`, 'tag has an object of the unknown type "commits"'],
  ['half a type', `${object}type comm\n${name}${tagger}\nm\n`, 'tag has an object of the unknown type "comm"'],
  ['an empty type', `${object}type \n${name}${tagger}\nm\n`, 'tag has an object of the unknown type ""'],
  ['no name', `${object}${type}${tagger}\nm\n`, "tag has no 'tag' line where it belongs"],
  ['nothing behind the type', `${object}${type}\n`, "tag has no 'tag' line where it belongs"],
  ['a tag line in the body', `${object}${type}\n${name}`, "tag has no 'tag' line where it belongs"],
  ['a bad tagger', `${object}${type}${name}tagger A <a@b> x\n\nm\n`, 'tagger line has a bad date: "A <a@b> x"'],
  ['a bad name of the tagger', `${object}${type}${name}tagger > <a@b> 1 +0000\n\nm\n`, 'tagger line has a bad name: "> <a@b> 1 +0000"'],
  [
    'a date that overflows',
    `${object}${type}${name}tagger A <a@b> 99999999999999999999 +0000\n\nm\n`,
    'tagger line has a date over 8640000000000: "A <a@b> 99999999999999999999 +0000"',
  ],
  ['a NUL in the header', `${object}${type}tag v\0\n${tagger}\nm\n`, `tag has a NUL byte in its header, at byte ${object.length + type.length + 5}`],
  ['no end', `${object}${type}tag v1`, 'tag has a header that does not end'],
]

t.test('refuses what git refuses', async (t) => {
  for (const [what, text, message, referee = 'refuses'] of refused) {
    t.equal(refusedByUs([tag(text)]), `bad-object: ${message}`, what)
    const theirs = await refusedByGit([tag(text)])
    t.equal(theirs === '' ? 'takes' : 'refuses', referee, `git ${referee} ${what}: ${theirs}`)
  }
})

t.test('takes what git takes, and tags too old to have a tagger', async (t) => {
  const cases: readonly (readonly [what: string, text: string, git?: string])[] = [
    ['a tag', `${object}${type}${name}${tagger}\nm\n`],
    ['of a tree', `object ${nameOf(fillerTree)}\ntype tree\n${name}${tagger}\nm\n`],
    ['of a blob', `object ${nameOf(filler)}\ntype blob\n${name}${tagger}\nm\n`],
    ['without a body', `${object}${type}${name}${tagger}`],
    ['with a signature', `${object}${type}${name}${tagger}\nm\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n`],
    ['a NUL in the body', `${object}${type}${name}${tagger}\nm\0\n`],
    ['missingTaggerEntry', `${object}${type}${name}\nm\n`],
    ['missingTaggerEntry, without a body', `${object}${type}${name}`],
    ['an odd name', `${object}${type}tag -v 1..0~\n${tagger}\nm\n`],
    ['an empty name', `${object}${type}tag \n${tagger}\nm\n`],
    ['other headers', `${object}${type}${name}${tagger}gpgsig-sha256 a\n b\n\nm\n`],
    ['badTimezone of the tagger', `${object}${type}${name}tagger A <a@b> 1 x\n\nm\n`],
  ]
  for (const [what, text] of cases) {
    t.equal(refusedByUs([tag(text)]), '', what)
    t.equal(await refusedByGit([tag(text)]), '', `git takes ${what}`)
  }
})

t.test('tells of its object with the type it must have', async (t) => {
  for (const [name, mask] of [
    ['commit', 1],
    ['tree', 2],
    ['blob', 4],
    ['tag', 8],
  ] as const) {
    const told: unknown[] = []
    checkTag(Buffer.from(`object ${'5a'.repeat(20)}\ntype ${name}\ntag x\n\n`), (bytes, at, expect) =>
      told.push([Buffer.from(bytes.subarray(at, at + 20)).toString('hex'), expect]),
    )
    t.same(told, [['5a'.repeat(20), mask]])
  }
})

t.test('cut off at any length before its tagger it is refused', async (t) => {
  const text = `${object}${type}${name}${tagger}\nm\n`
  const whole = [
    object + type + name,
    object + type + name + tagger,
    `${object}${type}${name}${tagger}\n`,
    `${object}${type}${name}${tagger}\nm`,
  ].map((part) => part.length)
  const taken: number[] = []
  for (let length = 0; length < text.length; length++) if (refusedByUs([tag(text.slice(0, length))]) === '') taken.push(length)
  t.same(taken, whole)
})

t.test('10,000 damaged tags: only ProtocolErrors, and git refuses nothing that passes but what the hub forgives', async (t) => {
  const below = seeded(31)
  const whole = Buffer.from(`${object}${type}${name}${tagger}\nm\n`)
  const passed: Base[] = []
  for (let i = 0; i < 10_000; i++) {
    const damaged = tag(mutated(whole, below, [...Buffer.from('<> \n\0+-0159afAF\ntype ')]).toString('latin1'))
    if (refusedByUs([damaged]) === '') passed.push(damaged)
  }
  const forgiven =
    /^(badTimezone|missingSpaceBefore(Date|Email)|missingEmail|missingNameBeforeEmail|missingTaggerEntry|badTagName|extraHeaderEntry|broken|badTagObject)$/
  const complaints = [...(await fsck(passed.slice(0, 2500))).values()].flatMap((of) => [...of])
  t.same([...new Set(complaints.filter((name) => !forgiven.test(name)))], [])
  t.ok(passed.length > 1000 && passed.length < 9500, String(passed.length))
})
