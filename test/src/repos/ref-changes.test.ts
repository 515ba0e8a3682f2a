import t from 'tap'
import { zeroOid, type Oid, type Ref, type RefName } from '../../../protocol/types.js'
import { chooseHead, decideRefChanges, parentNames, visibilityClass, type UpdateCommand } from '../../../src/repos/ref-changes.js'

const oid = (digit: string): Oid => digit.repeat(40) as Oid
const name = (text: string): RefName => Buffer.from(text, 'utf8').toString('latin1') as RefName
const command = (ref: string, oldOid: Oid, newOid: Oid): UpdateCommand => ({ name: name(ref), oldOid, newOid })
const create = (ref: string, to = oid('a')): UpdateCommand => command(ref, zeroOid, to)
const remove = (ref: string, from = oid('1')): UpdateCommand => command(ref, from, zeroOid)
const move = (ref: string, from: Oid, to: Oid): UpdateCommand => command(ref, from, to)

/** The refs there are, all at 1111… */
const standing = (...refs: string[]): ReadonlyMap<RefName, Ref> => new Map(refs.map((ref) => [name(ref), { name: name(ref), oid: oid('1') }]))

interface Situation {
  readonly refs?: ReadonlyMap<RefName, Ref>
  readonly below?: readonly string[]
  readonly atomic?: boolean
}

/** What becomes of the commands: reasons of refusals (ok otherwise), and the names that are deleted, moved and created. */
function decide(commands: readonly UpdateCommand[], { refs = standing('refs/heads/main'), below = [], atomic = false }: Situation = {}) {
  const { results, deletes, moves, creates } = decideRefChanges(commands, refs, new Set(below.map(name)), name('refs/heads/main'), atomic)
  t.same(
    results.map((result) => result.name),
    commands.map((command) => command.name),
    'one result a command, in their order',
  )
  return {
    said: results.map((result) => (result.kind === 'ok' ? 'ok' : result.reason)),
    done: [
      ...deletes.map((ref) => `- ${ref.name}`),
      ...moves.map(({ command, old }) => `${old.oid[0]}→${command.newOid[0]} ${command.name}`),
      ...creates.map((command) => `+ ${command.name}`),
    ],
  }
}

t.test('compare and swap: what stands must be what the client saw', async (t) => {
  const cases: readonly (readonly [UpdateCommand, string, string?])[] = [
    [create('refs/heads/new'), 'ok', '+ refs/heads/new'],
    [create('refs/heads/main'), 'reference already exists'],
    [create('refs/heads/main', oid('1')), 'ok'],
    [move('refs/heads/main', oid('1'), oid('2')), 'ok', '1→2 refs/heads/main'],
    [move('refs/heads/main', oid('3'), oid('2')), 'incorrect old value provided'],
    [move('refs/heads/main', oid('1'), oid('1')), 'ok'],
    [move('refs/heads/none', oid('1'), oid('2')), 'incorrect old value provided'],
    [remove('refs/heads/none'), 'ok'],
    [remove('refs/heads/main'), 'deletion of the current branch prohibited'],
    [remove('refs/heads/main', zeroOid), 'deletion of the current branch prohibited'],
    [remove('refs/heads/main', oid('2')), 'incorrect old value provided'],
  ]
  for (const [command, said, ...done] of cases) t.same(decide([command]), { said: [said], done }, JSON.stringify(command))
  const refs = standing('refs/heads/main', 'refs/heads/x')
  t.same(decide([remove('refs/heads/x')], { refs }), { said: ['ok'], done: ['- refs/heads/x'] })
  t.same(decide([remove('refs/heads/x', zeroOid)], { refs }), { said: ['ok'], done: ['- refs/heads/x'] })
  t.same(decide([remove('refs/heads/x', oid('2'))], { refs }).said, ['incorrect old value provided'])
})

t.test('no ref is a directory of another', async (t) => {
  const blocked = "'refs/heads/a' exists; cannot create 'refs/heads/a/b/c'"
  t.same(decide([create('refs/heads/a/b/c')], { refs: standing('refs/heads/a') }), { said: [blocked], done: [] })
  t.same(decide([create('refs/heads/a')], { below: ['refs/heads/a'] }), { said: ["refs below 'refs/heads/a/' exist; cannot create it"], done: [] })
  t.same(decide([create('refs/heads/a/b/c'), create('refs/heads/a')]), { said: [blocked, 'ok'], done: ['+ refs/heads/a'] })
  t.same(
    decide([create('refs/heads/a.b'), create('refs/heads/a-b/c'), create('refs/heads/a')]).said,
    ['ok', 'ok', 'ok'],
    'only slashes make directories',
  )
  t.same(decide([create('refs/heads/é/b')], { refs: standing('refs/heads/é') }).said, ["'refs/heads/é' exists; cannot create 'refs/heads/é/b'"])
})

t.test('what is deleted by the same push makes way, what is not deleted after all does not', async (t) => {
  const refs = standing('refs/heads/main', 'refs/heads/a')
  t.same(decide([create('refs/heads/a/b'), remove('refs/heads/a')], { refs }), { said: ['ok', 'ok'], done: ['- refs/heads/a', '+ refs/heads/a/b'] })
  t.same(decide([create('refs/heads/a/b'), remove('refs/heads/a', oid('2'))], { refs }), {
    said: ["'refs/heads/a' exists; cannot create 'refs/heads/a/b'", 'incorrect old value provided'],
    done: [],
  })
  t.same(decide([create('refs/heads/a/b'), move('refs/heads/a', oid('1'), oid('2'))], { refs }).said, [
    "'refs/heads/a' exists; cannot create 'refs/heads/a/b'",
    'ok',
  ])
  t.same(decide([remove('refs/heads/main'), create('refs/heads/main/x')]).said, [
    'deletion of the current branch prohibited',
    "'refs/heads/main' exists; cannot create 'refs/heads/main/x'",
  ])
})

t.test('a refused create does not stand in the way of another', async (t) => {
  const commands = [create('refs/heads/a'), create('refs/heads/a/b')]
  t.same(decide(commands, { below: ['refs/heads/a'] }), {
    said: ["refs below 'refs/heads/a/' exist; cannot create it", 'ok'],
    done: ['+ refs/heads/a/b'],
  })
})

t.test('an atomic push happens whole or not at all', async (t) => {
  const commands = [create('refs/heads/new'), move('refs/heads/main', oid('3'), oid('2')), remove('refs/heads/none')]
  t.same(decide(commands).done, ['+ refs/heads/new'])
  t.same(decide(commands, { atomic: true }), { said: ['atomic push failure', 'incorrect old value provided', 'atomic push failure'], done: [] })
  t.same(decide(commands.toSpliced(1, 1), { atomic: true }), { said: ['ok', 'ok'], done: ['+ refs/heads/new'] })
})

t.test('many refs are decided in one go', async (t) => {
  const commands = Array.from({ length: 20_000 }, (_, i) => create(`refs/heads/${i % 100}/${i}`))
  const started = performance.now()
  t.equal(decideRefChanges(commands, new Map(), new Set(), name('refs/heads/main'), true).creates.length, 20_000)
  t.ok(performance.now() - started < 2000)
})

t.test('parents are all that a name is below', async (t) => {
  t.same(parentNames(name('refs/heads/a/b')), ['refs/heads/a', 'refs/heads', 'refs'])
  t.same(parentNames(name('refs')), [])
})

t.test('HEAD of an empty repository goes to main, master, or the first branch that was pushed', async (t) => {
  const pick = (created: readonly string[], order = created, headExists = false) => {
    const creates = created.toSorted().map((ref) => create(ref))
    return chooseHead(
      name('refs/heads/main'),
      headExists,
      creates,
      order.map((ref) => create(ref)),
    )
  }
  t.equal(pick(['refs/heads/main', 'refs/heads/a']), undefined, 'it points there already')
  t.equal(pick(['refs/heads/master', 'refs/heads/a']), 'refs/heads/master')
  t.equal(pick(['refs/heads/z', 'refs/heads/a']), 'refs/heads/z')
  t.equal(pick(['refs/tags/v1']), undefined)
  t.equal(pick(['refs/heads/a'], ['refs/heads/refused', 'refs/heads/a']), 'refs/heads/a')
  t.equal(pick(['refs/heads/a'], ['refs/heads/a'], true), undefined)
  t.equal(chooseHead(name('refs/heads/trunk'), false, [create('refs/heads/main')], []), 'refs/heads/main')
})

t.test('heads and tags are class 0, hidden refs class 2, others class 1', async (t) => {
  const classes = { 'refs/heads/a': 0, 'refs/tags/v': 0, 'refs/pull/1/head': 1, 'refs/notes/commits': 1, 'refs/internal/x': 2, 'refs/headsx/a': 1 }
  for (const [ref, expected] of Object.entries(classes)) t.equal(visibilityClass(name(ref)), expected, ref)
})
