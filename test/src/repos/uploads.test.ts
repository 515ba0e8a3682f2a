import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import t from 'tap'
import { findNamespace } from '../../../src/db/namespaces.js'
import type { Packs } from '../../../src/packs/packs.js'
import type { UploadOutcome } from '../../../src/repos/upload-files.js'
import { createUploads, type Uploads } from '../../../src/repos/uploads.js'
import { create, move, never, openDomain, slices, workTree } from '../../support/domain.js'
import { openLargeFiles } from '../../support/real-large-files.js'

const domain = await openDomain(t)
const { db, versions, packs } = domain
const folder = t.testdir({ spool: {}, work: {} })
const work = await workTree(`${folder}/work`)
const largeFiles = openLargeFiles(domain)

/** `between`: runs when the new commit stands on what was read, and has not been staged. */
const uploadsWith = (options: { between?: () => Promise<unknown>; maxPackBytes?: number; maxBinaryBytes?: number } = {}): Uploads => {
  const slowed: Packs = {
    ...packs,
    async stage(chunks, request) {
      await options.between?.()
      return packs.stage(chunks, request)
    },
  }
  return createUploads({
    db,
    packs: slowed,
    versions,
    largeFiles,
    slices,
    maxRefs: 3,
    maxPackBytes: options.maxPackBytes ?? 2 ** 29,
    maxBinaryBytes: options.maxBinaryBytes ?? 10 * 2 ** 20,
    spool: { directory: `${folder}/spool`, maxBytes: 2 ** 30 },
  })
}

async function upload(
  uploads: Uploads,
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  branch = 'main',
  signal = never,
): Promise<UploadOutcome> {
  const received = []
  for (const [path, content] of Object.entries(files)) received.push({ name: path, content: await uploads.receive(chunked(Buffer.from(content))) })
  try {
    return await uploads.commit({
      repo: await domain.current(name),
      actor: (await findNamespace(db, 'admin'))!,
      branch,
      folder: '',
      files: received,
      summary: '',
      description: '',
      authorise: async () => true,
      signal,
    })
  } finally {
    for (const { content } of received) await content.dispose()
    assert.deepEqual(readdirSync(`${folder}/spool`), [])
    assert.equal(domain.spool.usedBytes, 0)
  }
}

async function* chunked(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}

const refsOf = async (name: string) =>
  Object.fromEntries((await domain.repos.readRefs(await domain.current(name))).list.map((ref) => [ref.name, ref.oid as string]))

t.test('a branch that moves while the commit is made stays where it moved to, and who lost is told', async (t) => {
  const repo = await domain.makeRepo('moved')
  const base = await work.commit({ a: '1' })
  await domain.push(repo, { commands: [create('refs/heads/main', base)], pack: await work.pack(base) })
  const theirs = await work.commit({ a: '2' })
  const pack = await work.pack(theirs, `^${base}`)
  const between = async () => domain.push(await domain.current('moved'), { commands: [move('refs/heads/main', base, theirs)], pack })
  const message = 'Nothing was committed to main: the branch moved while the files were on their way. Try again.'
  await t.rejects(upload(uploadsWith({ between }), 'moved', { b: 'b' }), { code: 'conflict', message })
  t.same(await refsOf('moved'), { 'refs/heads/main': theirs })

  const after = (await upload(uploadsWith(), 'moved', { b: 'b' })) as { commit: string }
  t.same(await refsOf('moved'), { 'refs/heads/main': after.commit }, 'the second try goes on from there')
})

t.test('a branch that somebody else makes meanwhile is his', async (t) => {
  const repo = await domain.makeRepo('made')
  const theirs = await work.commit({ c: '1' })
  const between = async () => domain.push(repo, { commands: [create('refs/heads/main', theirs)], pack: await work.pack(theirs) })
  await t.rejects(upload(uploadsWith({ between }), 'made', { b: 'b' }), { code: 'conflict', message: /the branch moved/ })
  t.same(await refsOf('made'), { 'refs/heads/main': theirs })
})

t.test('who leaves before the commit is there has changed nothing', async (t) => {
  await domain.makeRepo('left')
  const leaving = new AbortController()
  const between = async () => leaving.abort(new Error('gone'))
  await t.rejects(upload(uploadsWith({ between }), 'left', { b: randomBytes(2_000_000) }, 'main', leaving.signal))
  t.same(await refsOf('left'), {})
})

t.test('a repository that is deleted meanwhile takes nothing', async (t) => {
  const repo = await domain.makeRepo('deleted')
  const between = async () => domain.repos.deleteRepo(repo, (await findNamespace(db, 'admin'))!)
  await t.rejects(upload(uploadsWith({ between }), 'deleted', { b: 'b' }), { code: 'repo-not-found' })
})

t.test('one commit has as much as one push may have, large files apart, and a repository as many branches', async (t) => {
  await domain.makeRepo('limits')
  const uploads = uploadsWith({ maxPackBytes: 100_000 })
  await t.rejects(upload(uploads, 'limits', { a: randomBytes(60_000), b: randomBytes(60_000) }), {
    code: 'too-large',
    message: /over 100000 bytes together/,
  })
  await t.resolves(upload(uploads, 'limits', { a: randomBytes(60_000), b: randomBytes(11 * 2 ** 20) }))
  await upload(uploads, 'limits', { c: 'c' }, 'two')
  await upload(uploads, 'limits', { c: 'c' }, 'three')
  await t.rejects(upload(uploads, 'limits', { c: 'c' }, 'four'), { code: 'invalid', message: /has 3 refs/ })
})

t.test('a file over what the hub takes outside git-lfs goes there, and says so', async (t) => {
  await domain.makeRepo('binary')
  await upload(uploadsWith({ maxBinaryBytes: 1_000_000 }), 'binary', { a: Buffer.alloc(1_000_000), b: Buffer.alloc(1_000_001) })
  const { siblings } = await domain.repos.repoInfo(await domain.current('binary'))
  t.match(
    siblings.map(({ path, size }) => [path, size]),
    [
      ['.gitattributes', '/b filter=lfs diff=lfs merge=lfs -text\n'.length],
      ['a', 1_000_000],
      ['b', 132],
    ],
  )
})

t.test('many files in many folders, twice over', async (t) => {
  await domain.makeRepo('many')
  const files = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i % 7}/e${i % 11}/f${i}`, `${i}`]))
  t.match(await upload(uploadsWith(), 'many', files), { kind: 'committed' })
  t.same(await upload(uploadsWith(), 'many', files), { kind: 'unchanged' })
  const { siblings } = await domain.repos.repoInfo(await domain.current('many'))
  t.equal(siblings.length, 300)
  await upload(uploadsWith(), 'many', { 'd0/e0/f0': 'other' })
  const after = (await domain.repos.repoInfo(await domain.current('many'))).siblings
  t.equal(after.filter(({ path, blobId }) => siblings.find((one) => one.path === path)?.blobId === blobId).length, 299)
})
