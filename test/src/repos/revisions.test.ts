import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { RepoState } from '../../../src/db/versions.js'
import { findRevision, splitAddress } from '../../../src/repos/revisions.js'
import { create, move, openDomain, remove, workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'

const domain = await openDomain(t)
const work = await workTree(t.testdir())

const inSnapshot = async <T>(repo: RepoState, look: (snapshot: Awaited<ReturnType<typeof domain.packs.openSnapshot>>) => T): Promise<T> => {
  const snapshot = await domain.packs.openSnapshot(repo.id)
  try {
    return look(snapshot)
  } finally {
    snapshot.release()
  }
}

t.test('revisions by name, by id and by the beginning of an id', async (t) => {
  const repo = await domain.makeRepo('revisions')
  const one = await work.commit({ a: '1' })
  const two = await work.commit({ a: '2' })
  await git(['tag', '-a', '-m', 'annotated', 'v1', one], { cwd: work.cwd })
  const tag = await work.rev('v1')
  const blob = await work.rev('HEAD:a')
  const tree = await work.rev('HEAD^{tree}')
  const names = ['refs/heads/main', 'refs/heads/feature/x', 'refs/heads/größe', `refs/heads/${one.slice(0, 8)}`]
  await domain.push(repo, {
    commands: [
      ...names.map((name) => create(Buffer.from(name).toString('latin1'), two)),
      create('refs/tags/v1', tag),
      create('refs/tags/light', one),
      create('refs/tags/main', one),
      create('refs/tags/blob', blob),
    ],
    pack: await work.pack(two, 'v1'),
  })
  const table: readonly [revision: string, commit: string | undefined, isFixed?: boolean][] = [
    ['HEAD', two],
    ['main', two],
    ['refs/heads/main', two],
    ['refs/tags/main', one],
    ['feature/x', two],
    ['refs/heads/feature/x', two],
    ['größe', two],
    ['v1', one],
    ['refs/tags/v1', one],
    ['light', one],
    [one, one, true],
    [one.toUpperCase(), one, true],
    [one.slice(0, 7), one],
    [one.slice(0, 7).toUpperCase(), one],
    [one.slice(0, 8), two], // a branch is called so
    [one.slice(0, 39), one],
    [one.slice(0, 6), undefined],
    [`${one}0`, undefined],
    [tree, undefined],
    [tree.slice(0, 12), undefined],
    [blob, undefined],
    ['blob', undefined],
    [tag, undefined],
    ['0'.repeat(40), undefined],
    ['0000000', undefined],
    ['fffffff', undefined],
    ['feature', undefined],
    ['feature/', undefined],
    ['Main', undefined],
    ['main ', undefined],
    ['', undefined],
    ['..', undefined],
    ['main~1', undefined],
    ['main\0', undefined],
    ['refs/internal/x', undefined],
    ['x'.repeat(100_000), undefined],
  ]
  for (const [revision, commit, isFixed = false] of table) {
    t.same(
      await inSnapshot(repo, (snapshot) => findRevision(snapshot, revision)),
      commit === undefined ? undefined : { commit, isFixed },
      revision.slice(0, 60),
    )
  }
})

t.test('where a revision ends and a path begins', async (t) => {
  const repo = await domain.makeRepo('split')
  const one = await work.commit({ s: '1' })
  const two = await work.commit({ s: '2' })
  await domain.push(repo, {
    commands: [
      create('refs/heads/main', one),
      create('refs/heads/feature/x', two),
      create('refs/tags/main/docs', two),
      create('refs/heads/HEADS', one),
    ],
    pack: await work.pack(two),
  })
  const table: readonly [address: string, commit: string | undefined, path?: string][] = [
    ['main/a.txt', one, 'a.txt'],
    ['main/dir/a.txt', one, 'dir/a.txt'],
    ['HEAD/dir/a.txt', one, 'dir/a.txt'],
    ['refs/heads/main/a.txt', one, 'a.txt'],
    ['feature/x/a.txt', two, 'a.txt'],
    ['refs/heads/feature/x/dir/a.txt', two, 'dir/a.txt'],
    ['feature/y/a.txt', undefined],
    ['main/docs/a.txt', two, 'a.txt'], // the longest name there is
    ['main/docs', one, 'docs'], // but a path is not empty while it need not be
    ['feature/x', two, ''],
    ['main', one, ''],
    ['main/', one, ''],
    ['main//a', one, '/a'],
    [`${two}/feature/x`, two, 'feature/x'],
    [`${two.slice(0, 10)}/a`, two, 'a'],
    [`main/${'d/'.repeat(3_000)}f`, one, `${'d/'.repeat(3_000)}f`],
    ['/main/a', undefined],
    ['', undefined],
  ]
  for (const [address, commit, path] of table) {
    const found = await inSnapshot(repo, (snapshot) => splitAddress(snapshot, { segments: address.split('/'), isFirstRevision: false }))
    t.same(found && [found.commit, found.path], commit === undefined ? undefined : [commit, path], address.slice(0, 60))
  }
  const encoded = (segments: string[]) => inSnapshot(repo, (snapshot) => splitAddress(snapshot, { segments, isFirstRevision: true }))
  t.match(await encoded(['feature/x', 'a', 'b']), { commit: two, path: 'a/b' })
  t.match(await encoded(['main/docs', 'a']), { commit: two, path: 'a' })
  t.equal(await encoded(['feature/y', 'a']), undefined)
  t.equal(await encoded(['main/a', 'b']), undefined, 'an encoded slash is never taken for a plain one')
})

t.test('the beginning of an id is looked for in every pack, small or large, and two that begin so are nobody', async (t) => {
  const repo = await domain.makeRepo('prefixes')
  const work = await workTree(t.testdir())
  const first = await work.commit({ p: '0' })
  await domain.push(repo, { commands: [create('refs/heads/main', first)], pack: await work.pack(first) })
  const commits = [first]
  for (let i = 1; i <= 17; i++) {
    // The second and the ninth do not fit into the database.
    const next = await work.commit({ p: i % 7 === 2 ? randomBytes(200_000) : String(i) })
    await domain.push(repo, { commands: [move('refs/heads/main', commits.at(-1)!, next)], pack: await work.pack(next, `^${commits.at(-1)!}`) })
    commits.push(next)
  }
  const where = await inSnapshot(repo, (snapshot) => snapshot.packs.map((pack) => pack.where))
  t.same([where.filter((one) => one === 'file').length, where.filter((one) => one === 'inline').length], [3, 15])
  for (const oid of commits) {
    t.same(await inSnapshot(repo, (snapshot) => findRevision(snapshot, oid.slice(0, 7))), { commit: oid, isFixed: false })
    t.same(await inSnapshot(repo, (snapshot) => snapshot.commitsFrom(oid)), [oid])
  }
  // Eighteen ids, sixteen digits: two begin alike. People must say seven, so only the search itself can be asked.
  for (const digit of '0123456789abcdef') {
    const expected = commits.filter((oid) => oid.startsWith(digit))
    const found = await inSnapshot(repo, (snapshot) => snapshot.commitsFrom(digit))
    t.equal(found.length, Math.min(2, expected.length), digit)
    t.ok(found.every((oid) => expected.includes(oid)) && found.join() === found.toSorted().join())
  }
  t.ok('0123456789abcdef'.split('').some((digit) => commits.filter((oid) => oid.startsWith(digit)).length > 1))
})

t.test('what was pushed away is found until it is garbage; garbage never is', async (t) => {
  const repo = await domain.makeRepo('garbage')
  const kept = await work.commit({ g: 'kept' })
  const gone = await work.commit({ g: 'gone' })
  await domain.push(repo, { commands: [create('refs/heads/main', kept)], pack: await work.pack(kept) })
  await domain.push(repo, { commands: [create('refs/heads/other', gone)], pack: await work.pack(gone, `^${kept}`) })
  await domain.push(repo, { commands: [remove('refs/heads/other', gone)] })
  const find = (revision: string) => inSnapshot(repo, (snapshot) => findRevision(snapshot, revision)?.commit)
  t.same([await find(gone), await find(gone.slice(0, 9))], [gone, gone])
  await domain.db.execute({
    text: `UPDATE packs SET class = 3, changed_ver = (SELECT packs_ver + 1 FROM repositories WHERE id = $1)
      WHERE id = (SELECT max(id) FROM packs WHERE repo_id = $1)`,
    values: [repo.id],
  })
  await domain.db.execute({ text: 'UPDATE repositories SET packs_ver = packs_ver + 1 WHERE id = $1', values: [repo.id] })
  t.same([await find(gone), await find(gone.slice(0, 9))], [undefined, undefined])
  t.same([await find(kept), await find(kept.slice(0, 9))], [kept, kept])
})
