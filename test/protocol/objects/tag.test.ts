import { join } from 'node:path'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { encodeTag, parseTag, type Tag } from '../../../protocol/objects/tag.js'
import type { Oid } from '../../../protocol/types.js'
import { mutated, seeded } from '../../support/fsck.js'
import { git } from '../../support/git.js'

const cwd = join(t.testdir(), 'work')
await git(['init', '-q', cwd])
await git(['commit', '-q', '--allow-empty', '-m', 'x'], { cwd })
await git(['tag', '-m', 'release\n\nnotes é\n', 'v1', 'HEAD'], { cwd })
await git(['tag', '-m', 'of a tree', 'tree', 'HEAD^{tree}'], { cwd })
await git(['tag', '-m', 'of a tag', 'nested', 'v1'], { cwd })
const bytesOf = async (name: string): Promise<Buffer> => (await git(['cat-file', 'tag', name], { cwd })).stdout
const real = new Map<string, Buffer>()
for (const name of ['v1', 'tree', 'nested']) real.set(name, await bytesOf(name))
const old = Buffer.from(
  `object ${'1'.repeat(40)}\ntype commit\ntag v0.99\n\nfrom before taggers\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n`,
)

t.test('real tags come out as git shows them, and go back to the same bytes', async (t) => {
  for (const [name, data] of [...real, ['old', old] as const]) t.equal(encodeTag(parseTag(data)).toString(), data.toString(), name)
  const commit = (await git(['rev-parse', 'HEAD'], { cwd })).stdout.toString().trim()
  t.same(parseTag(real.get('v1')!), {
    object: commit,
    type: 'commit',
    tag: 'v1',
    tagger: { name: 'C O Mitter', email: 'committer@example.com', seconds: 1_700_000_000, timezone: '+0000' },
    message: 'release\n\nnotes é\n',
  })
  t.match(parseTag(real.get('tree')!), { type: 'tree', object: '4b825dc642cb6eb9a060e54bf8d69288fbee4904' })
  t.match(parseTag(real.get('nested')!), { type: 'tag' })
  t.notHas(parseTag(old), { tagger: {} })
})

t.test('what is written, git takes', async (t) => {
  const tag: Tag = { ...parseTag(real.get('v1')!), tag: 'näme', headers: [{ key: 'x', value: 'a\n\nb' }], message: '' }
  const data = encodeTag(tag)
  t.same(parseTag(data), tag)
  const { stdout } = await git(['hash-object', '-w', '-t', 'tag', '--stdin'], { cwd, input: data })
  await git(['fsck', '--strict', stdout.toString().trim()], { cwd })
})

t.test('what git would refuse is not written', async (t) => {
  const good = parseTag(real.get('v1')!)
  t.throws(() => encodeTag({ ...good, object: 'abc' as Oid }), { code: 'bad-object' })
  t.throws(() => encodeTag({ ...good, type: 'thing' as 'tag' }), { code: 'bad-object', message: 'tag has an object of the unknown type "thing"' })
  t.throws(() => encodeTag({ ...good, tag: 'a\0' }), { code: 'bad-object' })
  t.throws(() => encodeTag({ ...good, tagger: { ...good.tagger!, name: '>' } }), { code: 'bad-object' })
})

t.test('bytes that are no UTF-8 are shown as U+FFFD', async (t) => {
  const data = Buffer.from(`object ${'1'.repeat(40)}\ntype commit\ntag \xff\ntagger \xe4 <\xe4> 1 +0000\n\xe4 x\n\n\xe4`, 'latin1')
  t.same(parseTag(data), {
    object: '1'.repeat(40),
    type: 'commit',
    tag: '\ufffd',
    tagger: { name: '\ufffd', email: '\ufffd', seconds: 1, timezone: '+0000' },
    headers: [{ key: '\ufffd', value: 'x' }],
    message: '\ufffd',
  })
})

t.test('10,000 damaged tags: only ProtocolErrors', async (t) => {
  const below = seeded(51)
  let read = 0
  for (let i = 0; i < 10_000; i++) {
    const data = mutated(i % 2 === 0 ? real.get('v1')! : old, below, [...Buffer.from('<> \n\0+-01af\n')])
    try {
      const tag = parseTag(data)
      read += 1
      if (!/^[0-9a-f]{40}$/.test(tag.object) || !['commit', 'tree', 'blob', 'tag'].includes(tag.type)) t.fail(JSON.stringify(tag))
      encodeTag(tag)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
    }
  }
  t.ok(read > 2000, String(read))
})
