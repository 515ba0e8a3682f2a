import { join } from 'node:path'
import t from 'tap'
import { startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, someBytes } from '../support/tools/lfs-person.js'

interface Lock {
  readonly id: string
  readonly path: string
  readonly owner: { readonly name: string }
  readonly locked_at: string
}

const hub = await startHub(t)

for (const { name, found } of await findGitLfs()) {
  t.test(`${name}: files are locked, listed, respected by a push, and unlocked`, { skip: found.missing }, async (t) => {
    const gitLfs = found.tool!
    const slug = gitLfs.slug
    const owner = await lfsPerson(t, { hub, gitLfs, name: `owner${slug}` })
    const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
    await owner.createRepo({ name: 'locked', type: 'model', private: true })
    const address = `${hub.url}/${owner.name}/locked`
    const dir = t.testdir()
    const [mine, theirs] = [join(dir, 'mine'), join(dir, 'theirs')]
    await owner.git(['clone', '-q', address, mine])
    await owner.git(['lfs', 'track', '--lockable', '*.weights'], mine)
    await owner.commit(mine, { 'a.weights': someBytes(100), 'deep/b.weights': someBytes(100), 'c.weights': someBytes(100) })
    await owner.git(['push', '-q', 'origin', 'main'], mine)
    await admin.git(['clone', '-q', '-c', 'lfs.setlockablereadonly=false', address, theirs])
    for (const [person, cwd] of [
      [owner, mine],
      [admin, theirs],
    ] as const)
      await person.git(['config', `lfs.${address}.git/info/lfs.locksverify`, 'true'], cwd)

    const locks = async (person: typeof owner, cwd: string, ...args: string[]) =>
      JSON.parse(await person.text(['lfs', 'locks', '--json', ...args], cwd)) as Lock[]

    t.same(await locks(owner, mine), [])
    await owner.git(['lfs', 'lock', 'a.weights'], mine)
    await owner.git(['lfs', 'lock', 'deep/b.weights'], mine)
    const listed = await locks(admin, theirs)
    t.same(
      listed.map(({ path, owner }) => [path, owner.name]).toSorted(([a], [b]) => (a! < b! ? -1 : 1)),
      [
        ['a.weights', owner.name],
        ['deep/b.weights', owner.name],
      ],
    )
    t.match(listed[0]!.locked_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/)
    t.same((await locks(admin, theirs, '--path', 'deep/b.weights')).length, 1)
    t.same((await locks(admin, theirs, '--limit', '1')).length, 1)
    const verified = JSON.parse(await admin.text(['lfs', 'locks', '--verify', '--json'], theirs)) as { ours: Lock[] | null; theirs: Lock[] }
    t.same([verified.ours ?? [], verified.theirs.length], [[], 2])

    const second = await admin.git(['lfs', 'lock', 'a.weights'], theirs, { ok: false })
    t.not(second.code, 0, 'one lock a path')

    await admin.commit(theirs, { 'a.weights': someBytes(200) })
    const blocked = await admin.git(['push', 'origin', 'main'], theirs, { ok: false })
    t.not(blocked.code, 0, 'what another has locked is not pushed')
    t.match(blocked.stderr + blocked.stdout.toString(), /a\.weights[\s\S]*locked files|locked files[\s\S]*a\.weights/)

    const notTheirs = await admin.git(['lfs', 'unlock', 'a.weights'], theirs, { ok: false })
    t.not(notTheirs.code, 0, 'not without force')
    t.equal((await locks(owner, mine)).length, 2)
    await admin.git(['lfs', 'unlock', '--force', 'a.weights'], theirs)
    t.same(
      (await locks(owner, mine)).map(({ path }) => path),
      ['deep/b.weights'],
    )
    await admin.git(['push', '-q', 'origin', 'main'], theirs)

    await owner.git(['lfs', 'unlock', 'deep/b.weights'], mine)
    t.same(await locks(admin, theirs), [])
    const gone = await owner.git(['lfs', 'unlock', '--id', listed[0]!.id], mine, { ok: false })
    t.not(gone.code, 0, 'a lock is released once')
  })

  t.test(`${name}: who may only read takes no lock, and nobody releases one of another repository`, { skip: found.missing }, async (t) => {
    const gitLfs = found.tool!
    const slug = gitLfs.slug
    const owner = await lfsPerson(t, { hub, gitLfs, name: `holder${slug}` })
    const reader = await lfsPerson(t, { hub, gitLfs, name: `reader${slug}` })
    const dir = t.testdir()
    await owner.createRepo({ name: 'open', type: 'model' })
    await reader.createRepo({ name: 'own', type: 'model' })
    const [mine, theirs, own] = [join(dir, 'mine'), join(dir, 'theirs'), join(dir, 'own')]
    await owner.git(['clone', '-q', `${hub.url}/${owner.name}/open`, mine])
    await owner.commit(mine, { 'a.bin': someBytes(100) })
    await owner.git(['push', '-q', 'origin', 'main'], mine)
    await owner.git(['lfs', 'lock', 'a.bin'], mine)
    await reader.git(['clone', '-q', `${hub.url}/${owner.name}/open`, theirs])
    await reader.git(['clone', '-q', `${hub.url}/${reader.name}/own`, own])

    const refused = await reader.git(['lfs', 'lock', 'other.bin'], theirs, { ok: false })
    t.not(refused.code, 0)
    const [lock] = JSON.parse(await reader.text(['lfs', 'locks', '--json'], theirs)) as Lock[]
    t.equal(lock?.path, 'a.bin', 'who may read sees the locks')
    for (const cwd of [theirs, own]) {
      const forced = await reader.git(['lfs', 'unlock', '--force', '--id', lock!.id], cwd, { ok: false })
      t.not(forced.code, 0)
    }
    t.equal((JSON.parse(await owner.text(['lfs', 'locks', '--json'], mine)) as Lock[]).length, 1)
  })
}
