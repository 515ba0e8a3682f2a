/** One pack of more than 4 GiB: up by git and down again, as it was stored and as it is made anew, with bounded memory in the hub. */
import { spawn } from 'node:child_process'
import { createHash, randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { git, gitEnvironment } from '../support/git.js'
import { residentBytes } from '../support/hostile.js'
import { startHub } from '../support/hub.js'

const MiB = 2 ** 20
/** The hub takes no larger blob. */
const blobBytes = 100 * MiB
/** 4,200 MiB: the last entry begins past 2^32. */
const blobs = 42
/** For two copies of one blob, what inflates it and what checks hold; nothing of it grows with the pack. */
const maxGrowthBytes = 700 * MiB

/** Random bytes that pass for text: no zeros. */
function fillWithNoise(bytes: Buffer): void {
  randomFillSync(bytes)
  for (let at = bytes.indexOf(0); at !== -1; at = bytes.indexOf(0, at + 1)) bytes[at] = 1
}

/** A bare repository with one commit of these files, all in one pack. Returns the last one's SHA-256. */
async function makeLargeRepository(folder: string): Promise<string> {
  await git(['init', '-q', '--bare', folder])
  const settings = ['core.compression=0', 'core.bigFileThreshold=1m', 'fastimport.unpackLimit=0']
  const importing = spawn('git', [...settings.flatMap((setting) => ['-c', setting]), 'fast-import', '--quiet'], {
    cwd: folder,
    env: gitEnvironment(),
    stdio: ['pipe', 'inherit', 'inherit'],
  })
  const ended = once(importing, 'close')
  const write = async (bytes: Uint8Array | string): Promise<void> => {
    if (!importing.stdin.write(bytes)) await once(importing.stdin, 'drain')
  }
  const bytes = Buffer.alloc(blobBytes)
  for (let i = 1; i <= blobs; i++) {
    fillWithNoise(bytes)
    await write(`blob\nmark :${i}\ndata ${blobBytes}\n`)
    await write(bytes)
    await write('\n')
  }
  await write('commit refs/heads/main\ncommitter C <c@example.com> 1700000000 +0000\ndata 5\nlarge\n')
  for (let i = 1; i <= blobs; i++) await write(`M 100644 :${i} noise-${i}\n`)
  importing.stdin.end()
  const [code] = await ended
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`)
  return createHash('sha256').update(bytes).digest('hex')
}

const objectsOf = async (folder: string): Promise<string> =>
  (await git(['cat-file', '--batch-all-objects', '--batch-check'], { cwd: folder })).stdout.toString()

async function sha256(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex')
}

const packFiles = async (folder: string, ending: string): Promise<string[]> =>
  (await readdir(join(folder, 'objects/pack'))).filter((name) => name.endsWith(ending)).map((name) => join(folder, 'objects/pack', name))

t.test('a pack of more than 4 GiB goes up and comes down as it was', async (t) => {
  const hub = await startHub(t)
  const dir = t.testdir()
  const [origin, clone] = [join(dir, 'origin'), join(dir, 'clone')]
  const last = await makeLargeRepository(origin)
  t.equal((await hub.api('POST', '/api/repos/create', { name: 'huge', type: 'model' })).status, 200)
  const before = await residentBytes(hub)
  let most = before
  const watch = setInterval(() => void residentBytes(hub).then((bytes) => (most = Math.max(most, bytes))), 50)
  t.teardown(() => clearInterval(watch))
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const started = performance.now()
    const result = await work()
    t.comment(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s, hub at most ${Math.round(most / MiB)} MiB`)
    return result
  }

  const remote = hub.remote('admin/huge')
  await timed('push', () => git(['-c', 'pack.window=0', '-c', 'core.compression=0', 'push', '-q', '--force', remote, 'main'], { cwd: origin }))
  const expected = await objectsOf(origin)

  await timed('clone of the stored pack', () => git(['clone', '-q', '--bare', remote, clone]))
  t.equal(await objectsOf(clone), expected)
  const [pack] = await packFiles(clone, '.pack')
  t.ok((await stat(pack!)).size > 2 ** 32)
  // What git makes of the pack is what the hub made of it, the table of large offsets included.
  const [index] = await packFiles(clone, '.idx')
  const stored = (await readdir(hub.dataDirectory, { recursive: true })).filter((name) => name.endsWith('.idx'))
  t.equal(stored.length, 1)
  t.ok((await readFile(join(hub.dataDirectory, stored[0]!))).equals(await readFile(index!)), 'the .idx is the one git makes')
  await rm(clone, { recursive: true })

  const whole = await fetch(`${hub.url}/admin/huge/resolve/main/noise-${blobs}`)
  t.equal(await timed('the last file', () => sha256(whole.body!)), last)

  // With a second pack neither is the answer: one is made of both.
  const { stdout: more } = await git(['commit-tree', '-p', 'main', '-m', 'more', 'main^{tree}'], { cwd: origin })
  await git(['update-ref', 'refs/heads/main', more.toString().trim()], { cwd: origin })
  await git(['push', '-q', remote, 'main'], { cwd: origin })
  await timed('clone of a pack made anew', () => git(['clone', '-q', '--bare', remote, clone]))
  t.equal(await objectsOf(clone), await objectsOf(origin))
  const [made] = await packFiles(clone, '.pack')
  t.ok((await stat(made!)).size > 2 ** 32)
  clearInterval(watch)
  t.comment(`${Math.round((most - before) / MiB)} MiB more than the ${Math.round(before / MiB)} MiB before`)
  t.ok(most - before < maxGrowthBytes, `the hub grew by ${Math.round((most - before) / MiB)} MiB`)
})
