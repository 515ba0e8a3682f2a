/** Every fault that bytes and rows can have, planted in a hub that works, named by `cairn fsck`, and put right where that can be. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { sql } from '../../../src/db/sql.js'
import { runCli } from '../../../src/cli/commands.js'
import { callApi } from '../../support/api.js'
import { workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { serveHub } from '../../support/served-hub.js'

const hub = await serveHub(t)
const { db, token } = hub
const blobs = join(hub.dataDirectory, 'blobs')
const remote = (repo: string) => hub.url.replace('://', `://user:${token}@`) + `/${repo}`

async function fsck(...args: string[]) {
  const [out, err]: [string[], string[]] = [[], []]
  const code = await runCli(['fsck', ...args], {
    env: { CAIRN_URL: hub.url, CAIRN_TOKEN: token },
    out: (text) => void out.push(text),
    err: (text) => void err.push(text),
  })
  return { code, found: err, text: out.join('\n') }
}

interface PackFacts {
  readonly id: number
  readonly sha256: Buffer
  readonly idx_sha256: Buffer | null
  readonly rev_sha256: Buffer | null
  readonly tbl_sha256: Buffer | null
  readonly state: string
  readonly class: number
}

const packsOf = (name: string) =>
  db.query<PackFacts>(sql`
    SELECT p.* FROM packs p JOIN repositories r ON r.id = p.repo_id WHERE r.name = ${name} AND p.state <> 'retired' ORDER BY p.id`)
const hexOf = (bytes: Buffer): string => bytes.toString('hex')
const pathOfPack = ({ sha256 }: PackFacts) => join(blobs, 'packs', hexOf(sha256).slice(0, 2), `${hexOf(sha256)}.pack`)
const pathOfSide = (pack: PackFacts, kind: 'idx' | 'rev' | 'tbl') => {
  const hex = hexOf(pack[`${kind}_sha256`]!)
  return join(blobs, 'side', hex.slice(0, 2), `${hex}.${kind}`)
}

/** Another byte in the middle, and the size as it was. In place, as a disk does it. */
async function flip(path: string, at?: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at ?? bytes.length >>> 1]! ^= 0x20
  await writeFile(path, bytes)
}

/** A repository of two packs that are files: the second push leans on the first. */
async function stored(t: Test, name: string, commits = 2) {
  const repo = `admin/${name}`
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const work = await workTree(t.testdir())
  for (let i = 0; i < commits; i++) {
    await work.commit({ [`f${i}`]: randomBytes(150_000) }, `commit ${i}`)
    await git(['push', '-q', remote(repo), 'HEAD:refs/heads/main'], { cwd: work.cwd })
  }
  return { repo, work, packs: await packsOf(name) }
}

async function clones(t: Test, repo: string): Promise<boolean> {
  const folder = join(t.testdirName, `clone-${randomBytes(4).toString('hex')}`)
  const { code } = await git(['clone', '-q', '--mirror', remote(repo), folder], { ok: false })
  if (code !== 0) return false
  await git(['fsck', '--strict', '--full'], { cwd: folder })
  return true
}

/** So that what one test broke for good is not found by the next. */
async function forget(repo: string): Promise<void> {
  const [, name] = repo.split('/')
  t.equal((await hub.api('DELETE', '/api/repos/delete', { type: 'model', name, organization: 'admin' })).status, 200)
}

t.test('a hub in good order has nothing wrong, by sizes and by bytes', async (t) => {
  const { repo } = await stored(t, 'good')
  const inline = await workTree(t.testdir())
  await inline.commit({ small: 'small' })
  await git(['push', '-q', remote(repo), 'HEAD:refs/heads/other'], { cwd: inline.cwd })
  const { code, found, text } = await fsck()
  t.same([code, found], [0, []])
  t.match(
    text,
    /^store +8 blobs \(\d+ bytes\), 0 bytes read\nrepositories +1: 3 packs, 9 objects that refs lead to\norphans +0 \(0 bytes\), 0 deleted\nnothing is wrong$/,
  )
  const all = await fsck('--bytes')
  t.same([all.code, all.found], [0, []])
  t.match(all.text, /^store +8 blobs \((\d+) bytes\), \1 bytes read\n/)
})

/** What can happen to bytes, as fsck says it. */
const faults = [
  ['is not in the store', (path: string) => rm(path)],
  ['has another size than was stored', (path: string) => truncate(path, 100)],
  ['has other bytes than were stored', (path: string) => flip(path)],
] as const

for (const kind of ['idx', 'rev', 'tbl'] as const) {
  t.test(`a .${kind} that is gone, cut or another is named, and made anew`, async (t) => {
    const { repo, packs } = await stored(t, `side-${kind}`)
    const pack = packs[1]!
    const path = pathOfSide(pack, kind)
    const before = await readFile(path)
    for (const [says, plant] of faults) {
      await plant(path)
      const name = `model ${repo}: pack ${hexOf(pack.sha256)} (receive): its .${kind} ${says}`
      const dry = await fsck('--bytes')
      t.equal(dry.code, 1)
      t.equal(dry.found[0], `WRONG: ${name}: it can be made anew from its pack`)
      const repaired = await fsck('--bytes', '--repair')
      t.same([repaired.code, repaired.found], [0, [`repaired: ${name}: made anew from its pack`]])
      t.match(repaired.text, /\n1 repaired, 0 left$/)
      t.ok((await readFile(path)).equals(before))
      t.same((await fsck('--bytes')).found, [])
    }
    t.equal(await clones(t, repo), true)
  })
}

t.test('a table that is another is found by reading it, and made anew, without --bytes', async (t) => {
  const { repo, packs } = await stored(t, 'table')
  await flip(pathOfSide(packs[0]!, 'tbl'))
  const name = `model ${repo}: pack ${hexOf(packs[0]!.sha256)} (receive): its .tbl has other bytes than were stored`
  t.same((await fsck()).found, [
    `WRONG: ${name}: it can be made anew from its pack`,
    `WRONG: model ${repo}: refs were not followed: the table of a pack does not read back`,
  ])
  t.same((await fsck('--repair')).found, [`repaired: ${name}: made anew from its pack`])
  t.same((await fsck()).found, [])
})

t.test('a pack that is nowhere else is named, with a ref that leads into it, and left as it is', async (t) => {
  const { repo, packs } = await stored(t, 'alone')
  const path = pathOfPack(packs[0]!)
  const before = await readFile(path)
  for (const [says, plant] of faults) {
    await plant(path)
    for (const options of [['--bytes'], ['--bytes', '--repair']]) {
      const { code, found } = await fsck(...options)
      t.equal(code, 1)
      t.equal(found[0], `WRONG: model ${repo}: pack ${hexOf(packs[0]!.sha256)} (receive) ${says}: it is nowhere else, and refs lead into it`)
      t.match(found[1], new RegExp(`^WRONG: model ${repo}: refs/heads/main leads to what is not there: object [0-9a-f]{40} is missing$`))
      t.equal(found.length, 2)
    }
    await writeFile(path, before)
    t.same((await fsck('--bytes')).found, [], 'once somebody has put it back')
  }
  t.equal(await clones(t, repo), true)
})

t.test('a pack that a collection made is had back from those that it replaced', async (t) => {
  for (const [i, [says, plant]] of faults.entries()) {
    const { repo } = await stored(t, `collected-${i}`)
    t.equal((await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })).status, 200)
    const [pack, ...others] = await packsOf(`collected-${i}`)
    t.same(others, [])
    await plant(pathOfPack(pack!))
    const name = `model ${repo}: pack ${hexOf(pack!.sha256)} (gc) ${says}`
    t.same((await fsck('--bytes')).found, [`WRONG: ${name}: can be set aside, all that refs lead to is in other packs, out of use until now`])
    const repaired = await fsck('--bytes', '--repair')
    t.same([repaired.code, repaired.found], [0, [`repaired: ${name}: set aside, all that refs lead to is in other packs, out of use until now`]])
    const after = (await packsOf(`collected-${i}`)).filter(({ state }) => state === 'live')
    t.match(after, [{ class: 0 }])
    t.not(after[0]!.id, pack!.id)
    t.same((await fsck('--bytes')).found, [])
    t.equal(await clones(t, repo), true)
    const work = await workTree(t.testdir())
    await git(['pull', '-q', remote(repo), 'main'], { cwd: work.cwd })
    await work.commit({ more: 'more' })
    t.equal((await git(['push', '-q', remote(repo), 'HEAD:refs/heads/main'], { cwd: work.cwd })).code, 0, 'and pushes stand on it')
  }
})

t.test('an inline pack with another byte is found by reading it, and had back where that can be', async (t) => {
  const repo = 'admin/inline'
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const work = await workTree(t.testdir())
  for (const name of ['a', 'b']) {
    await work.commit({ [name]: name })
    await git(['push', '-q', remote(repo), 'HEAD:refs/heads/main'], { cwd: work.cwd })
  }
  const flipInline = (id: number) => db.execute(sql`UPDATE pack_inline SET pack = set_byte(pack, 30, get_byte(pack, 30) # 32) WHERE pack_id = ${id}`)
  const [first] = await packsOf('inline')
  await flipInline(first!.id)
  t.equal((await fsck()).code, 1, 'the object in it does not inflate')
  const alone = await fsck('--bytes', '--repair')
  t.equal(alone.code, 1)
  t.equal(
    alone.found[0],
    `WRONG: model ${repo}: pack ${hexOf(first!.sha256)} (receive) has other bytes than were stored: it is nowhere else, and refs lead into it`,
  )
  await flipInline(first!.id)
  t.same((await fsck('--bytes')).found, [])

  await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })
  const [collected] = await packsOf('inline')
  await flipInline(collected!.id)
  t.match(await fsck('--bytes', '--repair'), { code: 0, found: [/\(gc\) has other bytes than were stored: set aside, /] })
  t.same((await fsck('--bytes')).found, [])
  t.equal(await clones(t, repo), true)
})

t.test('a pack whose objects another pack has as well is set aside', async (t) => {
  const { repo, work, packs } = await stored(t, 'twice', 1)
  const { stdout } = await git(['pack-objects', '--revs', '--stdout', '-q', '--compression=1'], { cwd: work.cwd, input: Buffer.from('main\n') })
  const head = `${'0'.repeat(40)} ${await work.rev('main')} refs/heads/copy\0report-status`
  const answer = await fetch(`${hub.url}/${repo}/git-receive-pack`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-git-receive-pack-request' },
    body: new Uint8Array(Buffer.concat([Buffer.from(`${(head.length + 4).toString(16).padStart(4, '0')}${head}0000`), stdout])),
  })
  t.match(await answer.text(), /ok refs\/heads\/copy/)
  t.equal((await packsOf('twice')).length, 2)
  await rm(pathOfPack(packs[0]!))
  t.match(await fsck('--repair'), { code: 0, found: [/\(receive\) is not in the store: set aside, all that refs lead to is in other packs$/] })
  t.equal((await packsOf('twice')).length, 1)
  t.same((await fsck('--bytes')).found, [])
  t.equal(await clones(t, repo), true)
})

t.test('an object that is missing is named with a ref that leads to it', async (t) => {
  const { repo, work, packs } = await stored(t, 'gap')
  await git(['push', '-q', remote(repo), `main~1:refs/heads/older`, `main~1:refs/tags/v1`], { cwd: work.cwd })
  await db.execute(sql`DELETE FROM blob_link WHERE pack_id = ${packs[1]!.id}`)
  await db.execute(sql`DELETE FROM packs WHERE id = ${packs[1]!.id}`)
  for (const options of [[], ['--repair']]) {
    const { code, found } = await fsck(...options)
    t.same([code, found], [1, [`WRONG: model ${repo}: refs/heads/main leads to what is not there: object ${await work.rev('main')} is missing`]])
  }
  await forget(repo)
  t.same((await fsck()).found, [])
})

t.test('bytes that nothing says are needed are linked again', async (t) => {
  const { packs, repo } = await stored(t, 'unlinked', 1)
  await db.execute(sql`DELETE FROM blob_link WHERE pack_id = ${packs[0]!.id} AND kind IN ('pack', 'rev')`)
  t.match((await fsck()).found, [/nothing says that its \.pack is needed$/, /nothing says that its \.rev is needed$/])
  t.match(await fsck('--repair'), { code: 0, found: [/^repaired: /, /^repaired: /] })
  t.match(await db.query(sql`SELECT kind FROM blob_link WHERE pack_id = ${packs[0]!.id} ORDER BY kind`), [
    { kind: 'idx' },
    { kind: 'pack' },
    { kind: 'rev' },
    { kind: 'tbl' },
  ])
  t.same((await fsck()).found, [])
  t.equal(await clones(t, repo), true)
})

t.test('a large file that is gone, cut or another is named with who has it', async (t) => {
  const repo = 'admin/weights'
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const bytes = randomBytes(5_000)
  const oid = createHash('sha256').update(bytes).digest('hex')
  const { body } = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation: 'upload', objects: [{ oid, size: bytes.length }] })
  const { href } = (body as { objects: [{ actions: { upload: { href: string } } }] }).objects[0].actions.upload
  t.equal((await fetch(href, { method: 'PUT', body: new Uint8Array(bytes) })).status, 200)
  const path = join(blobs, 'lfs', oid.slice(0, 2), oid.slice(2, 4), oid)
  for (const [says, plant] of faults) {
    await plant(path)
    t.match(await fsck('--bytes', '--repair'), { code: 1, found: [`WRONG: large file ${oid} ${says}: of model ${repo}`] })
    await writeFile(path, bytes)
  }
  t.same((await fsck('--bytes')).found, [])
})

t.test('bytes without a row are orphans once they are old, and go when that is asked for', async (t) => {
  const orphan = async (hours: number): Promise<string> => {
    const hex = randomBytes(32).toString('hex')
    const path = join(blobs, 'side', hex.slice(0, 2), `${hex}.tbl`)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'left behind')
    const then = new Date(Date.now() - hours * 3_600_000)
    await utimes(path, then, then)
    return path
  }
  const [old, young] = [await orphan(49), await orphan(47)]
  const key = old.slice(blobs.length + 1)
  const dry = await fsck('--repair')
  t.same([dry.code, dry.found], [0, [`orphan: ${key} (11 bytes) is in the store and in no row`]])
  t.match(dry.text, /\norphans +1 \(11 bytes\), 0 deleted\nnothing is wrong$/)
  t.equal(await readFile(old, 'utf8'), 'left behind')
  const removed = await fsck('--remove-orphans')
  t.same([removed.code, removed.found], [0, [`repaired: ${key} (11 bytes) is in the store and in no row: deleted`]])
  t.match(removed.text, /\norphans +1 \(11 bytes\), 1 deleted\nnothing is wrong$/)
  await t.rejects(readFile(old), { code: 'ENOENT' })
  t.equal(await readFile(young, 'utf8'), 'left behind')
  t.same(await db.query(sql`SELECT FROM stored_blob WHERE key = ${key}`), [])
  t.same((await fsck()).found, [])
})

t.test('a row that nothing needs is nobody’s loss', async (t) => {
  const hex = 'ab'.repeat(32)
  await db.execute(sql`INSERT INTO stored_blob (key, bytes) VALUES (${`packs/ab/${hex}.pack`}, 100)`)
  t.same((await fsck('--bytes')).found, [])
})

t.test('who may, what is not understood, and one at a time', async (t) => {
  await hub.api('POST', '/api/cairn/users', { name: 'bob' })
  const made = (await hub.api('POST', '/api/cairn/users/bob/tokens', {})).body as { token: string }
  const post = (headers: Record<string, string>, body: object = {}, signal?: AbortSignal) =>
    fetch(`${hub.url}/api/cairn/fsck`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    })
  const admin = { authorization: `Bearer ${token}` }
  t.equal((await post({})).status, 401)
  t.equal((await post({ authorization: `Bearer ${made.token}` })).status, 403)
  t.equal((await callApi(hub.url, () => made.token)('POST', '/api/cairn/fsck', {})).status, 403)
  t.equal((await post(admin, { repair: 'yes' })).status, 400)
  t.equal((await post(admin, { force: true })).status, 400)
  const answer = await post(admin)
  t.equal(answer.headers.get('content-type'), 'application/x-ndjson')
  t.match(JSON.parse((await answer.text()).trimEnd()), { figures: { left: 0 } })

  const both = await Promise.all([post(admin, { bytes: true }), post(admin, { bytes: true })])
  t.same(
    both.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 503],
  )
  for (const one of both) await one.text()
  const gone = new AbortController()
  const left = post(admin, { bytes: true }, gone.signal)
  setTimeout(() => gone.abort(), 20)
  await left.then((response) => response.text()).catch(() => undefined)
  for (let tries = 0; (await post(admin)).status !== 200; tries++) if (tries > 100) t.fail('who left keeps the others out')
})
