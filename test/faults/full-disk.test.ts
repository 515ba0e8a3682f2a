import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { git } from '../support/git.js'
import { filesBelow } from '../support/hostile.js'
import { Browser } from '../support/pages.js'
import { serveHub, type ServedHub } from '../support/served-hub.js'
import { fillDisk, mountSmallDisk, smallDiskMissing } from '../support/small-disk.js'

/* A disk that is full to the last byte, under the spool alone or under all of the hub: what each kind of client is told, and what goes on. */

const skip = smallDiskMissing()
const noSpace = 'no space is left on the hub'
const repo = 'admin/full'

interface Action {
  readonly href: string
}

interface BatchObject {
  readonly actions?: Readonly<Record<string, Action>>
  readonly error?: { readonly code: number; readonly message: string }
}

const newObject = () => {
  const content = randomBytes(3_000_000)
  return { content, size: content.length, oid: createHash('sha256').update(content).digest('hex') }
}

async function batch(hub: ServedHub, { oid, size }: { readonly oid: string; readonly size: number }): Promise<BatchObject> {
  const { status, body } = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation: 'upload', objects: [{ oid, size }] })
  if (status !== 200) throw new Error(`batch answered ${status}: ${JSON.stringify(body)}`)
  return (body as { readonly objects: readonly [BatchObject] }).objects[0]
}

async function put(object: BatchObject, body: Uint8Array<ArrayBuffer>): Promise<{ readonly status: number; readonly said: string }> {
  const answer = await fetch(object.actions!['upload']!.href, { method: 'PUT', body })
  return { status: answer.status, said: await answer.text() }
}

/** Commits a file of that many bytes and pushes. */
async function pushFile(hub: ServedHub, work: string, bytes: number): Promise<{ readonly code: number | null; readonly stderr: string }> {
  await writeFile(join(work, 'file'), randomBytes(bytes))
  await git(['add', '.'], { cwd: work })
  await git(['commit', '-q', '-m', `${bytes} bytes`], { cwd: work })
  return git(['push', `${hub.url.replace('://', `://user:${hub.token}@`)}/${repo}`, 'HEAD:main'], { cwd: work, ok: false })
}

interface FullHub {
  readonly hub: ServedHub
  readonly browser: Browser
  readonly work: string
  /** Nothing is on its way any more: neither in the spool nor in the store. */
  nothingLeft(): Promise<void>
}

/** `passing`: the folders of what is on its way. */
async function openFullHub(t: Test, env: Readonly<Record<string, string>>, passing: readonly string[]): Promise<FullHub> {
  const hub = await serveHub(t, { CAIRN_SPOOL_BYTES: '1GiB', ...env })
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const browser = new Browser(hub.url)
  await browser.signIn(hub.token)
  const work = join(t.testdir(), 'work')
  await git(['init', '-q', work])
  return {
    hub,
    browser,
    work,
    async nothingLeft() {
      for (const folder of passing) t.same(await filesBelow(folder), [], folder)
    },
  }
}

/** Pushes and forms, for which the spool has no room. */
async function spoolIsFull(t: Test, { hub, browser, work, nothingLeft }: FullHub): Promise<void> {
  const pushed = await pushFile(hub, work, 3_000_000)
  t.not(pushed.code, 0)
  t.match(pushed.stderr, `error: remote unpack failed: ${noSpace}`)
  t.match(pushed.stderr, /! \[remote rejected\] HEAD -> main \(unpacker error\)/)
  await git(['reset', '-q', '--hard', 'HEAD^'], { cwd: work })
  for (const [name, bytes] of [
    ['picture.png', 3_000_000],
    ['notes.txt', 100],
  ] as const) {
    const form = await browser.upload(`/${repo}/upload`, [{ name, content: randomBytes(bytes) }])
    t.equal(form.status, 507, name)
    t.match(form.text, noSpace)
  }
  await nothingLeft()
  // What fits into memory needs no room.
  t.equal((await pushFile(hub, work, 1_000)).code, 0)
  t.equal((await fetch(`${hub.url}/readyz`)).status, 200)
}

async function thereIsRoom(t: Test, { hub, browser, work, nothingLeft }: FullHub): Promise<void> {
  t.equal((await pushFile(hub, work, 3_000_000)).code, 0)
  const head = (await git(['rev-parse', 'HEAD'], { cwd: work })).stdout.toString()
  const form = await browser.upload(`/${repo}/upload`, [{ name: 'picture.png', content: randomBytes(3_000_000) }])
  t.equal(form.status, 303)
  const object = newObject()
  t.equal((await put(await batch(hub, object), object.content)).status, 200)
  const clone = join(work, '..', 'clone')
  await git(['clone', '-q', '--bare', `${hub.url}/${repo}`, clone])
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  t.equal((await git(['rev-parse', 'main^'], { cwd: clone })).stdout.toString(), head)
  await nothingLeft()
}

t.test('the spool on a disk that is full', { skip }, async (t) => {
  const disk = mountSmallDisk(t, '16m')
  const spool = join(disk, 'spool')
  const full = await openFullHub(t, { CAIRN_SPOOL_DIR: spool }, [spool])
  t.equal((await pushFile(full.hub, full.work, 1_000)).code, 0)
  const makeRoom = fillDisk(disk)
  const object = newObject()
  t.equal((await put(await batch(full.hub, object), object.content)).status, 200, 'large objects do not wait there')
  await spoolIsFull(t, full)
  makeRoom()
  await thereIsRoom(t, full)
})

t.test('all of the hub on a disk that is full', { skip }, async (t) => {
  const disk = mountSmallDisk(t, '32m')
  const full = await openFullHub(t, { CAIRN_DATA: disk }, [join(disk, 'spool'), join(disk, 'blobs', 'staging'), join(disk, 'blobs', 'tmp')])
  const { hub } = full
  t.equal((await pushFile(hub, full.work, 1_000)).code, 0)
  const reserved = newObject()
  const before = await batch(hub, reserved)
  const makeRoom = fillDisk(disk)
  const later = await batch(hub, newObject())
  t.match(later, { error: { code: 507, message: noSpace } }, 'before a byte is sent')
  const answer = await put(before, reserved.content)
  t.equal(answer.status, 507)
  t.match(JSON.parse(answer.said), { message: noSpace })
  await spoolIsFull(t, full)
  makeRoom()
  t.equal((await put(before, reserved.content)).status, 200, 'by the same link')
  await thereIsRoom(t, full)
})
