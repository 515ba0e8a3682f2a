/** One very large file, random bytes with holes between: up by git-lfs, down by git-lfs, by curl and by range, with flat memory in the hub. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { residentBytes } from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson } from '../support/tools/lfs-person.js'

const gigabytes = Number(process.env['CAIRN_TEST_LARGE_GB'] ?? 1)
const MB = 1e6
/** The hub's growth over what it has when it has served one small file. */
const maxGrowthBytes = 150 * MB

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Three quarters random bytes, each followed by a hole, and a hole at the end. */
async function writeLargeFile(path: string, megabytes: number): Promise<number> {
  const file = await open(path, 'wx')
  for (let at = 0; at < megabytes; at += 4) await file.write(randomBytes(3 * MB), 0, 3 * MB, at * MB)
  await file.truncate(megabytes * MB)
  await file.close()
  return megabytes * MB
}

const [newest] = (await findGitLfs()).slice(-1)
t.test(`${gigabytes} GB with holes go up and come down as they were`, { skip: newest!.found.missing }, async (t) => {
  const hub = await startHub(t)
  const admin = await lfsPerson(t, { hub, gitLfs: newest!.found.tool!, name: 'admin' })
  const dir = t.testdir()
  const [work, clone] = [join(dir, 'work'), join(dir, 'clone')]
  await admin.createRepo({ name: 'huge', type: 'model' })
  await admin.git(['clone', '-q', `${hub.url}/admin/huge`, work])
  await admin.commit(work, { 'small.bin': randomBytes(1000) })
  await admin.git(['push', '-q', 'origin', 'main'], work)
  const before = await residentBytes(hub)
  let most = before
  const watch = setInterval(() => void residentBytes(hub).then((bytes) => (most = Math.max(most, bytes))), 50)
  t.teardown(() => clearInterval(watch))

  const size = await writeLargeFile(join(work, 'weights.bin'), 1000 * gigabytes)
  const oid = await sha256(join(work, 'weights.bin'))
  await admin.commit(work, {}, 'weights')
  await admin.git(['push', '-q', 'origin', 'main'], work)
  await admin.git(['clone', '-q', `${hub.url}/admin/huge`, clone])
  t.equal(await sha256(join(clone, 'weights.bin')), oid)

  const url = `${hub.url}/admin/huge/resolve/main/weights.bin`
  const hash = createHash('sha256')
  const whole = await fetch(url)
  t.equal(Number(whole.headers.get('content-length')), size)
  for await (const chunk of whole.body!) hash.update(chunk as Uint8Array)
  t.equal(hash.digest('hex'), oid)
  const original = await open(join(work, 'weights.bin'))
  for (const at of [0, 3 * MB - 10, 4 * MB - 10, size / 2, size - 20]) {
    const part = await fetch(url, { headers: { range: `bytes=${at}-${at + 19}` } })
    const expected = Buffer.alloc(20)
    await original.read(expected, 0, 20, at)
    t.ok(Buffer.from(await part.arrayBuffer()).equals(expected), `20 bytes from ${at}`)
  }
  await original.close()
  clearInterval(watch)
  t.comment(`${Math.round((most - before) / MB)} MB more than the ${Math.round(before / MB)} MB before`)
  t.ok(most - before < maxGrowthBytes, `the hub grew by ${Math.round((most - before) / MB)} MB`)
})
