/** `cairn fsck` of a hub whose bytes are in MinIO: what was lost there comes back from the hub's own disk, and from other packs. */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCli } from '../../src/cli/commands.js'
import { sql } from '../../src/db/sql.js'
import type { BlobKey } from '../../src/storage/blob-store.js'
import { packKey, sidecarKey } from '../../src/storage/keys.js'
import { createS3BlobStore } from '../../src/storage/s3-blob-store.js'
import { chunks, read } from '../contracts/blob-store.js'
import { workTree } from '../support/domain.js'
import { git } from '../support/git.js'
import { serveHub } from '../support/served-hub.js'
import { findMinio } from '../support/tools/minio.js'

const { found } = await findMinio()

t.test('what MinIO lost is put back', { skip: found.missing }, async (t) => {
  const server = await found.tool!.start(t)
  const account = server.account(await server.makeBucket())
  const store = createS3BlobStore(account)
  t.teardown(() => store.close())
  const hub = await serveHub(t, {
    CAIRN_S3_ENDPOINT: account.endpoint,
    CAIRN_S3_BUCKET: account.bucket,
    CAIRN_S3_REGION: account.region,
    CAIRN_S3_ACCESS_KEY: account.accessKey,
    CAIRN_S3_SECRET_KEY: account.secretKey,
  })
  const fsck = async (...args: string[]) => {
    const found: string[] = []
    const env = { CAIRN_URL: hub.url, CAIRN_TOKEN: hub.token }
    const code = await runCli(['fsck', ...args], { env, out: () => undefined, err: (text) => void found.push(text) })
    return { code, found }
  }
  const repo = 'admin/remote'
  const remote = `${hub.url.replace('://', `://user:${hub.token}@`)}/${repo}`
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const work = await workTree(t.testdir())
  for (let i = 0; i < 2; i++) {
    // Over what a pack may have in memory: its file is kept in the cache.
    await work.commit({ [`f${i}`]: randomBytes(1_500_000) })
    await git(['push', '-q', remote, 'HEAD:refs/heads/main'], { cwd: work.cwd })
  }
  const clones = async (): Promise<boolean> => {
    const folder = join(t.testdirName, randomBytes(4).toString('hex'))
    await git(['clone', '-q', '--mirror', remote, folder])
    return (await git(['fsck', '--strict', '--full'], { cwd: folder })).code === 0
  }
  const packs = () => hub.db.query<{ sha256: Buffer; tbl_sha256: Buffer }>(sql`SELECT sha256, tbl_sha256 FROM packs WHERE state = 'live' ORDER BY id`)
  const flip = async (key: BlobKey): Promise<void> => {
    const bytes = await read(store, key)
    bytes[bytes.length >>> 1]! ^= 1
    await store.put(key, chunks(bytes))
  }
  t.same(await fsck('--bytes'), { code: 0, found: [] })

  const [first, second] = (await packs()).map(({ sha256 }) => packKey(sha256))
  const tbl = sidecarKey((await packs())[0]!.tbl_sha256, 'tbl')
  const before = await Promise.all([first!, second!, tbl].map((key) => read(store, key)))
  await store.delete(first!)
  await flip(second!)
  await flip(tbl)
  t.match(await fsck('--bytes'), {
    code: 1,
    found: [
      /^WRONG: .* is not in the store: can be put back from the cache$/,
      /^WRONG: .*: its \.tbl has other bytes than were stored: it can be made anew from its pack$/,
      /^WRONG: .* has other bytes than were stored: can be put back from the cache$/,
      /^WRONG: .*: refs were not followed: the table of a pack does not read back$/,
    ],
  })
  t.match(await fsck('--bytes', '--repair'), {
    code: 0,
    found: [
      /^repaired: .* is not in the store: put back from the cache$/,
      /^repaired: .*: its \.tbl has other bytes than were stored: made anew from its pack$/,
      /^repaired: .* has other bytes than were stored: put back from the cache$/,
    ],
  })
  for (const [i, key] of [first!, second!, tbl].entries()) t.ok((await read(store, key)).equals(before[i]!), key)
  t.same(await fsck('--bytes'), { code: 0, found: [] })
  t.equal(await clones(), true)

  await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })
  const collected = packKey((await packs())[0]!.sha256)
  await flip(collected)
  await rm(join(hub.dataDirectory, 'cache', collected), { force: true })
  t.match(await fsck('--bytes', '--repair'), { code: 0, found: [/\(gc\) has other bytes than were stored: set aside, .* out of use until now$/] })
  t.same(await fsck('--bytes'), { code: 0, found: [] })
  t.equal(await clones(), true)
})
