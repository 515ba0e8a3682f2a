import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startHub } from '../support/hub.js'
import { findGitLfs, type GitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, requestsIn, sha256Of, sha256OfFile, someBytes } from '../support/tools/lfs-person.js'

const versions = await findGitLfs()
const hub = await startHub(t)

/** For each git-lfs, under a name that makes its repositories its own. */
function each(what: string, run: (t: Test, gitLfs: GitLfs, name: string) => Promise<void>): void {
  for (const [i, { name, found }] of versions.entries())
    t.test(`${name}: ${what}`, { skip: found.missing }, (t) =>
      run(
        t,
        found.tool!,
        `${['old', 'new'][i]}-${what
          .split(' ')
          .slice(0, 2)
          .join('-')
          .replace(/[^a-z-]/g, '')}`,
      ),
    )
}

/** One request after the other, or their lines mix. */
const verbose = {
  env: { GIT_CURL_VERBOSE: '1', GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'lfs.concurrenttransfers', GIT_CONFIG_VALUE_0: '1' },
}

each('track, push, clone, change, pull, fetch', async (t, gitLfs, repo) => {
  const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
  await admin.createRepo({ name: repo, type: 'model', private: true })
  const dir = t.testdir()
  const [work, other, bare] = [join(dir, 'work'), join(dir, 'other'), join(dir, 'later')]
  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, work])
  await admin.git(['lfs', 'track', '*.weights'], work)
  const files = {
    'one.weights': Buffer.from('x'),
    'empty.weights': Buffer.alloc(0),
    'deep/er/name with space.weights': someBytes(70_000),
    'big.weights': someBytes(9_000_001),
    'README.md': Buffer.from('# small\n'),
  }
  await admin.commit(work, files)
  await admin.git(['push', '-q', 'origin', 'main'], work)
  t.equal(
    await admin.text(['cat-file', 'blob', 'HEAD:big.weights'], work),
    `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256Of(files['big.weights'])}\nsize 9000001`,
  )

  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}.git`, other])
  for (const [path, bytes] of Object.entries(files)) t.ok(bytes.equals(await readFile(join(other, path))), path)
  t.equal(await admin.text(['status', '--porcelain'], other), '')
  await admin.git(['lfs', 'fsck'], other)

  const changed = someBytes(300_000)
  await admin.git(['checkout', '-q', '-b', 'topic'], other)
  await admin.commit(other, { 'big.weights': changed, 'added.weights': someBytes(1_000) })
  await admin.git(['push', '-q', 'origin', 'topic', 'topic:main'], other)
  await admin.git(['pull', '-q', '--ff-only', 'origin', 'main'], work)
  t.ok(changed.equals(await readFile(join(work, 'big.weights'))))

  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, bare], undefined, { env: { GIT_LFS_SKIP_SMUDGE: '1' } })
  t.match(await readFile(join(bare, 'big.weights'), 'utf8'), /^version https:\/\/git-lfs/)
  await admin.git(['lfs', 'fetch', '--all'], bare)
  t.match(await readFile(join(bare, 'big.weights'), 'utf8'), /^version https:\/\/git-lfs/, 'fetched, not checked out')
  await admin.git(['lfs', 'pull'], bare)
  t.ok(changed.equals(await readFile(join(bare, 'big.weights'))))
  // Both states of the big file, one byte, the name with a space, the added one. An empty file has no pointer.
  t.equal((await readdir(join(bare, '.git/lfs/objects'), { recursive: true })).filter((name) => /[0-9a-f]{64}$/.test(name)).length, 5)
})

each('what the hub has of this person is not sent again', async (t, gitLfs, repo) => {
  const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
  const stranger = await lfsPerson(t, { hub, gitLfs, name: `stranger-${repo.slice(0, 3)}` })
  const dir = t.testdir()
  const work = join(dir, 'work')
  await admin.createRepo({ name: repo, type: 'model', private: true })
  await admin.createRepo({ name: `${repo}-copy`, type: 'model', private: true })
  await stranger.createRepo({ name: repo, type: 'model' })
  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, work])
  const bytes = someBytes(50_000)
  await admin.commit(work, { 'a.bin': bytes, 'b.bin': bytes, 'c.bin': someBytes(10) })
  const first = await admin.git(['push', 'origin', 'main'], work, verbose)
  t.equal(requestsIn(first.stderr, 'PUT'), 2, 'two of three files are the same')

  const again = await admin.git(['lfs', 'push', '--all', 'origin'], work, verbose)
  t.match(again.stderr, 'objects/batch', 'it asked')
  t.equal(requestsIn(again.stderr, 'PUT'), 0)

  await admin.git(['remote', 'add', 'copy', `${hub.url}/admin/${repo}-copy`], work)
  const copied = await admin.git(['push', '--force', 'copy', 'main'], work, verbose)
  t.equal(requestsIn(copied.stderr, 'PUT'), 0, 'who may read it elsewhere need not send it')
  const clone = join(dir, 'clone')
  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}-copy`, clone])
  t.ok(bytes.equals(await readFile(join(clone, 'a.bin'))))

  await stranger.git(['remote', 'add', 'theirs', `${hub.url}/${stranger.name}/${repo}`], work)
  const sent = await stranger.git(['push', '--force', 'theirs', 'main'], work, verbose)
  t.equal(requestsIn(sent.stderr, 'PUT'), 2, 'that the hub has it gives a stranger nothing: the bytes prove possession')
})

each('private repositories by token, public ones without', async (t, gitLfs, repo) => {
  const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
  const stranger = await lfsPerson(t, { hub, gitLfs, name: `passer-${repo.slice(0, 3)}` })
  const nobody = { env: { GIT_CONFIG_GLOBAL: '/dev/null' } }
  const dir = t.testdir()
  const bytes = someBytes(20_000)
  for (const [name, isPrivate] of [
    [`${repo}-open`, false],
    [`${repo}-closed`, true],
  ] as const) {
    await admin.createRepo({ name, type: 'model', private: isPrivate })
    await admin.git(['clone', '-q', `${hub.url}/admin/${name}`, join(dir, name)])
    // Each repository has an object that no other has.
    await admin.commit(join(dir, name), { 'model.bin': Buffer.concat([bytes, Buffer.from(name)]) })
    await admin.git(['push', '-q', 'origin', 'main'], join(dir, name))
  }

  const open = join(dir, 'open')
  await stranger.git(['clone', '-q', `${hub.url}/admin/${repo}-open`, open])
  t.equal(await sha256OfFile(join(open, 'model.bin')), sha256Of(Buffer.concat([bytes, Buffer.from(`${repo}-open`)])))
  await stranger.commit(open, { 'mine.bin': someBytes(100) })
  const refused = await stranger.git(['push', 'origin', 'main'], open, { ok: false })
  t.not(refused.code, 0)
  t.match(refused.stderr, /403|[Ff]orbidden|not allowed|may not|[Aa]uthoriz/)

  // Without any account: the filters are named by hand, since there is no home.
  const filters = [
    '-c',
    'filter.lfs.smudge=git-lfs smudge -- %f',
    '-c',
    'filter.lfs.process=git-lfs filter-process',
    '-c',
    'filter.lfs.required=true',
  ]
  await stranger.git([...filters, 'clone', '-q', `${hub.url}/admin/${repo}-open`, join(dir, 'anonymous')], undefined, nobody)
  t.equal((await readFile(join(dir, 'anonymous', 'model.bin'))).length, 20_000 + `${repo}-open`.length)

  // The commit of the closed one is known here, its bytes are not: only the LFS door stands between.
  const pointers = join(dir, 'pointers')
  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}-closed`, pointers], undefined, { env: { GIT_LFS_SKIP_SMUDGE: '1' } })
  const fetched = await stranger.git(['lfs', 'fetch', 'origin', 'main'], pointers, { ok: false })
  t.not(fetched.code, 0)
  t.match(fetched.stderr + fetched.stdout.toString(), /not found|404/i)
  await stranger.git(['remote', 'set-url', 'origin', `${hub.url}/admin/${repo}-open`], pointers)
  const smuggled = await stranger.git(['lfs', 'fetch', 'origin', 'main'], pointers, { ok: false })
  t.not(smuggled.code, 0, 'by way of a repository that may be read it is not there either')
  t.match(smuggled.stderr + smuggled.stdout.toString(), /does not exist|not found|404/i)
  await admin.git(['remote', 'set-url', 'origin', `${hub.url}/admin/${repo}-closed`], pointers)
  await admin.git(['lfs', 'pull'], pointers)
  t.equal(await sha256OfFile(join(pointers, 'model.bin')), sha256Of(Buffer.concat([bytes, Buffer.from(`${repo}-closed`)])))
})

each('credentials in the address, datasets and spaces, and an address without .git', async (t, gitLfs, repo) => {
  const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
  const dir = t.testdir()
  for (const [type, prefix] of [
    ['model', ''],
    ['dataset', 'datasets/'],
    ['space', 'spaces/'],
  ] as const) {
    const name = `${repo}-${type}`
    await admin.createRepo({ name, type, private: true, ...(type === 'space' ? { sdk: 'static' } : {}) })
    const [work, clone] = [join(dir, type), join(dir, `${type}-clone`)]
    const noStore = { env: { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'credential.helper', GIT_CONFIG_VALUE_0: '' } }
    await admin.git(['clone', '-q', hub.remote(`${prefix}admin/${name}`), work], undefined, noStore)
    const bytes = someBytes(5_000)
    await admin.commit(work, { '.gitattributes': '*.weights filter=lfs diff=lfs merge=lfs -text\n', 'x.weights': bytes })
    await admin.git(['push', '-q', 'origin', 'main'], work, noStore)
    await admin.git(['-c', `lfs.url=${hub.url}/${prefix}admin/${name}/info/lfs`, 'clone', '-q', `${hub.url}/${prefix}admin/${name}`, clone])
    t.ok(bytes.equals(await readFile(join(clone, 'x.weights'))), type)
    await admin.commit(clone, { 'y.weights': someBytes(5_000) })
    await admin.git(['-c', `lfs.url=${hub.url}/${prefix}admin/${name}/info/lfs`, 'push', '-q', 'origin', 'main'], clone)
    await admin.git(['pull', '-q', '--ff-only'], work)
    t.equal(await sha256OfFile(join(work, 'y.weights')), await sha256OfFile(join(clone, 'y.weights')), type)
  }
})

each('a push of pointers without their objects is refused, path and oid listed, until they are sent', async (t, gitLfs, repo) => {
  const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
  await admin.createRepo({ name: repo, type: 'model', private: true })
  const work = join(t.testdir(), 'work')
  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, work])
  const bytes = someBytes(3_000)
  await admin.commit(work, { 'some/where/model.bin': bytes })
  const refused = await admin.git(['push', 'origin', 'main'], work, { ok: false, env: { GIT_LFS_SKIP_PUSH: '1' } })
  t.not(refused.code, 0)
  t.match(refused.stderr, 'some/where/model.bin')
  t.match(refused.stderr, sha256Of(bytes))
  t.equal(
    await admin.text(['ls-remote', 'origin', 'refs/heads/main'], work).then((line) => line.slice(0, 40)),
    await admin.text(['rev-parse', 'origin/main'], work),
  )
  await admin.git(['lfs', 'push', 'origin', 'main'], work)
  await admin.git(['push', '-q', 'origin', 'main'], work, { env: { GIT_LFS_SKIP_PUSH: '1' } })
})

each('an old history with binaries is moved to git-lfs and imported', async (t, gitLfs, repo) => {
  const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
  const { status } = await admin.api('POST', '/api/cairn/repos', { type: 'model', id: `admin/${repo}`, empty: true })
  t.equal(status, 200)
  const dir = t.testdir()
  const old = join(dir, 'old')
  await admin.git(['init', '-q', '-b', 'main', old])
  const states = [someBytes(40_000), someBytes(40_001), someBytes(40_002)]
  for (const bytes of states) await admin.commit(old, { 'model.h5': bytes, 'notes.txt': `${bytes.length}\n` })
  await admin.git(['tag', '-a', '-m', 'first', 'v1', 'HEAD~2'], old)
  await admin.git(['lfs', 'migrate', 'import', '--everything', '--include=*.h5', '--yes'], old)
  await admin.git(['push', '-q', '--mirror', `${hub.url}/admin/${repo}`], old)
  await admin.git(['lfs', 'push', '--all', `${hub.url}/admin/${repo}`], old)
  const clone = join(dir, 'clone')
  await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, clone])
  t.ok(states[2]!.equals(await readFile(join(clone, 'model.h5'))))
  await admin.git(['checkout', '-q', 'v1'], clone)
  t.ok(states[0]!.equals(await readFile(join(clone, 'model.h5'))))
  await writeFile(join(clone, 'note'), 'the tree is clean otherwise')
  t.equal(await admin.text(['status', '--porcelain'], clone), '?? note')
})
