/** The life of a large object that nothing points to any more, with time moved on in the database. */
import { createHash, randomBytes } from 'node:crypto'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { encodePointer } from '../../../lfs/pointer.js'
import { sql } from '../../../src/db/sql.js'
import { runCli } from '../../../src/cli/commands.js'
import { create, pushHead, zero, type Command } from '../../support/hostile.js'
import { blob, commitOf, nameOf, packOf, treeOf } from '../../support/packs.js'
import { serveHub } from '../../support/served-hub.js'

const hub = await serveHub(t)
const { db, token } = hub
const day = 24

async function upload(repo: string, bytes: Buffer): Promise<string> {
  const oid = createHash('sha256').update(bytes).digest('hex')
  const { body } = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation: 'upload', objects: [{ oid, size: bytes.length }] })
  const { href } = (body as { objects: [{ actions: { upload: { href: string } } }] }).objects[0].actions.upload
  t.equal((await fetch(href, { method: 'PUT', body: new Uint8Array(bytes) })).status, 200)
  return oid
}

/** A commit that holds pointers to these objects. */
function pointing(objects: readonly { oid: string; size: number }[]) {
  const pointers = objects.map((object) => blob(encodePointer(object).toString()))
  const tree = treeOf(...pointers.map((pointer, i) => ['100644', `${i}.bin`, nameOf(pointer)] as [string, string, string]))
  const commit = commitOf(nameOf(tree))
  return { oid: nameOf(commit), pack: packOf([commit, tree, ...pointers]) }
}

async function push(repo: string, command: Command, pack: Buffer = Buffer.alloc(0)): Promise<void> {
  const answer = await fetch(`${hub.url}/${repo}/git-receive-pack`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-git-receive-pack-request' },
    body: new Uint8Array(Buffer.concat([pushHead([command]), pack])),
  })
  t.match(await answer.text(), /ok refs\/heads/)
}

/** As if so many hours had gone by. */
async function later(hours: number): Promise<void> {
  const by = sql`${hours}::float8 * interval '1 hour'`
  await db.execute(sql`UPDATE repo_large_object SET last_seen = last_seen - ${by}, unlinked_at = unlinked_at - ${by}`)
  await db.execute(sql`UPDATE large_object SET created_at = created_at - ${by}, unlinked_at = unlinked_at - ${by}`)
  await db.execute(sql`UPDATE stored_blob SET last_used_at = last_used_at - ${by}, state_at = state_at - ${by}`)
  await db.execute(sql`UPDATE ref_log SET at = at - ${by}`)
}

interface Figures {
  readonly links: { readonly marked: number; readonly removed: number }
  readonly objects: { readonly removed: number; readonly removedBytes: number }
  readonly blobs: { readonly doomed: number; readonly deleted: number; readonly deletedBytes: number }
  readonly failed: readonly object[]
}

async function collect(options: object = {}): Promise<Figures> {
  const { status, body } = await hub.api('POST', '/api/cairn/gc', options)
  t.equal(status, 200)
  return body as Figures
}

const pathOf = (oid: string) => join(hub.dataDirectory, 'blobs', 'lfs', oid.slice(0, 2), oid.slice(2, 4), oid)
const isThere = (oid: string) =>
  access(pathOf(oid)).then(
    () => true,
    () => false,
  )

t.test('kept while a ref has it or had it lately, then marked, unlinked, dropped, doomed and deleted', async (t) => {
  const repo = 'admin/aging'
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const [kept, gone] = [randomBytes(1000), randomBytes(2000)]
  const keptObject = { oid: await upload(repo, kept), size: kept.length }
  const goneObject = { oid: await upload(repo, gone), size: gone.length }
  const main = pointing([keptObject])
  const side = pointing([keptObject, goneObject])
  await push(repo, create(main.oid), main.pack)
  await push(repo, create(side.oid, 'refs/heads/side'), side.pack)

  await later(20 * day)
  t.match(await collect(), { links: { marked: 0, removed: 0 }, failed: [] }, 'a branch has them')
  await push(repo, [side.oid, zero, 'refs/heads/side'])
  await later(13 * day)
  t.match(await collect(), { links: { marked: 0 } }, 'a branch had it lately')
  await later(2 * day)
  t.match(await collect(), { links: { marked: 0 } }, 'it was seen two days ago')
  await later(12.5 * day)
  t.match(await collect({ dryRun: true }), { links: { marked: 1 } })
  t.match(await collect({ dryRun: true }), { links: { marked: 1 } }, 'a dry run changed nothing')
  t.match(await collect(), { links: { marked: 1 } })
  await later(6 * day)
  t.match(await collect(), { links: { removed: 0 } }, 'the mark is younger than a week')
  const download = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation: 'download', objects: [goneObject] })
  t.match(download.body, { objects: [{ actions: { download: {} } }] }, 'it can still be had')
  await later(2 * day)
  t.match(await collect(), { links: { removed: 1 }, objects: { removed: 0 } })
  t.match((await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation: 'download', objects: [goneObject] })).body, {
    objects: [{ error: { code: 404 } }],
  })
  await collect()
  await later(2 * day)
  t.match(await collect(), { objects: { removed: 1, removedBytes: 2000 } })
  t.ok(await isThere(goneObject.oid))
  await later(1)
  await collect()
  await later(2 * day)
  t.match(await collect(), { blobs: { deletedBytes: 2000 } })
  t.notOk(await isThere(goneObject.oid), 'the bytes are gone')
  t.ok(await isThere(keptObject.oid))
  t.match(await collect({ force: true }), { links: { marked: 0, removed: 0 }, objects: { removed: 0 }, failed: [] })

  // And again from the start.
  await upload(repo, gone)
  t.ok(await isThere(goneObject.oid))
})

t.test('a repository in which nothing points to anything is left alone, unless told otherwise', async (t) => {
  const repo = 'admin/suspicious'
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  await upload(repo, randomBytes(100))
  await later(15 * day)
  t.match((await collect()).failed, [{ why: /nothing in it that points to one/ }])
  t.match(await collect({ force: true }), { links: { marked: 1 } })
})

t.test('cairn gc says what a run came to', async (t) => {
  const run = async (...args: string[]) => {
    const lines: string[] = []
    const say = (text: string) => void lines.push(text)
    const code = await runCli(['gc', ...args], { env: { CAIRN_URL: hub.url, CAIRN_TOKEN: token }, out: say, err: say })
    return [code, lines.join('\n')] as const
  }
  t.match(await run('--large-files', '--dry-run'), [0, /^dry run: nothing was changed\nlarge files +in \d+ repositories\n +links +\d+ marked/])
  t.match(await run('--large-files'), [0, /^large files +in/])
  t.match(await run('--packs', '--dry-run'), [
    0,
    /^dry run: nothing was changed\npacks +in \d+ repositories: \d+ \(\d+ bytes\), \d+ objects in use\n/,
  ])
  t.notMatch((await run('--packs'))[1], /large files/)
  t.match(await run(), [0, /^packs +in 0 repositories[^]*\nlarge files +in/], 'both, and by then all packs are in order')
})
