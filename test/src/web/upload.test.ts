import { createHash, randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sql } from '../../../src/db/sql.js'
import type { RepoState } from '../../../src/db/versions.js'
import { git } from '../../support/git.js'
import { Browser, complaintOf, formToken, openPages, valueOf } from '../../support/pages.js'

const pages = await openPages(t)
const { url, domain, largeFiles, spool } = pages
const owner = await pages.addUser('Alice')
const browser = new Browser(url)
await browser.signIn(owner.token)

const stateOf = async (name: string): Promise<RepoState> =>
  (await domain.versions.current({ repo: { type: 'model', namespace: 'Alice', name } })).repo!
const headOf = async (name: string, branch = 'main'): Promise<string | undefined> =>
  (await domain.repos.readRefs(await stateOf(name))).list.find((ref) => ref.name === `refs/heads/${branch}`)?.oid
const clone = async (t: { testdir(): string }, name: string, ...args: string[]): Promise<string> => {
  const cwd = join(t.testdir(), 'clone')
  await git(['clone', '-q', ...args, `${url.replace('://', `://x:${owner.token}@`)}/alice/${name}`, cwd])
  return cwd
}
const out = async (cwd: string, ...args: string[]): Promise<string> => (await git(args, { cwd })).stdout.toString('utf8')
const waiting = () => readdirSync(spool)

/** However it went, nothing is left in the spool. */
const test = (name: string, work: (t: Test) => Promise<void>) =>
  t.test(name, async (t) => {
    await work(t)
    t.same(waiting(), [])
  })

test('small files become one commit, which a clone has', async (t) => {
  await pages.addRepo('Alice', 'small')
  const first = (await headOf('small'))!
  const noise = randomBytes(200_000)
  const files = [
    { name: 'README.md', content: '# Hello\n' },
    { name: 'noise', content: noise },
    { name: 'empty', content: '' },
    { name: 'é "quoted" & <b>.txt', content: 'x' },
    { name: 'sub/dir/deep.txt', content: 'deep' },
  ]
  const answer = await browser.upload('/alice/small/upload', files, {
    folder: ' /data/train/ ',
    summary: ' Add  data ',
    description: 'Why\r\n\r\nnot.\r\n',
  })
  t.equal(answer.status, 303)
  const head = (await headOf('small'))!
  t.equal(answer.location, `/Alice/small/upload/main?committed=${head}`)
  t.match((await browser.get(answer.location!)).text, `Commit <code>${head.slice(0, 12)}</code> is on <bdi>main</bdi> now.`)

  const cwd = await clone(t, 'small')
  await git(['fsck', '--strict', '--full'], { cwd })
  t.equal(
    await out(cwd, 'log', '--format=%H|%P|%an|%ae|%cn|%ce|%B', '-1'),
    `${head}|${first}|Alice|Alice@users.noreply|Alice|Alice@users.noreply|Add data\n\nWhy\n\nnot.\n\n`,
  )
  t.same((await out(cwd, 'ls-files', '-z')).split('\0').filter(Boolean), [
    '.gitattributes',
    'data/train/README.md',
    'data/train/empty',
    'data/train/noise',
    'data/train/sub/dir/deep.txt',
    'data/train/é "quoted" & <b>.txt',
  ])
  t.ok((await git(['cat-file', 'blob', 'HEAD:data/train/noise'], { cwd })).stdout.equals(noise))
  const [audit] = await domain.db.query(sql`SELECT actor_id, details FROM audit WHERE action = 'repo.upload'`)
  t.match(audit, { actor_id: owner.id, details: { refs: 1 } })
})

test('the author is who is signed in, as he calls himself', async (t) => {
  await pages.addRepo('Alice', 'author')
  await domain.versions.changing({ actorId: owner.id }, () =>
    domain.db.execute(sql`UPDATE namespaces SET full_name = 'Alice <script>Liddell', email = 'alice@example.com' WHERE id = ${owner.id}`),
  )
  t.equal((await browser.upload('/alice/author/upload', [{ name: 'a', content: 'a' }])).status, 303)
  await domain.versions.changing({ actorId: owner.id }, () =>
    domain.db.execute(sql`UPDATE namespaces SET full_name = null, email = null WHERE id = ${owner.id}`),
  )
  t.equal(await out(await clone(t, 'author'), 'log', '-1', '--format=%an|%ae|%s'), 'Alice scriptLiddell|alice@example.com|Upload a\n')
})

test('files are put into what is there: replaced, added beside, nothing else touched', async (t) => {
  await pages.addRepo('Alice', 'merge', { empty: true })
  const work = join(t.testdir(), 'work')
  await git(['init', '-q', '-b', 'main', work])
  const put = async (mode: string, path: string, content: string) => {
    const { stdout } = await git(['hash-object', '-w', '--stdin'], { cwd: work, input: Buffer.from(content) })
    await git(['update-index', '--add', '--cacheinfo', `${mode},${stdout.toString().trim()},${path}`], { cwd: work })
  }
  await put('100755', 'run.sh', 'old')
  await put('120000', 'link', 'run.sh')
  await put('100644', 'a/b/keep', 'keep')
  await put('100644', 'a/b/change', 'old')
  await put('100644', 'a.b', 'sorts between')
  await put('100644', 'file', 'a file')
  await git(['update-index', '--add', '--cacheinfo', `160000,${'a'.repeat(40)},module`], { cwd: work })
  await git(['commit', '-q', '-m', 'base'], { cwd: work })
  await git(['push', '-q', `${url.replace('://', `://x:${owner.token}@`)}/alice/merge`, 'main'], { cwd: work })
  const base = await headOf('merge')

  const sent = [
    { name: 'run.sh', content: 'new' },
    { name: 'link', content: 'a plain file now' },
    { name: 'a/b/change', content: 'new' },
    { name: 'a/c/made', content: 'made' },
  ]
  t.equal((await browser.upload('/alice/merge/upload', sent)).status, 303)
  const cwd = await clone(t, 'merge')
  await git(['fsck', '--strict', '--full'], { cwd })
  t.equal(await out(cwd, 'diff', '--raw', '--no-abbrev', base!, 'HEAD', '--name-status'), 'M\ta/b/change\nA\ta/c/made\nT\tlink\nM\trun.sh\n')
  t.match(await out(cwd, 'ls-tree', '-r', 'HEAD'), /100755 blob [0-9a-f]{40}\trun\.sh\n$/)

  const head = await headOf('merge')
  const refused: readonly (readonly [name: string, complaint: string])[] = [
    ['file/x', '"file/…" needs a folder where "file" is a file'],
    ['link/x', '"link/…" needs a folder where "link" is a file'],
    ['a/b/keep/x', '"a/b/keep/…" needs a folder where "a/b/keep" is a file'],
    ['a/b', '"a/b" is a folder, and no file can take its place'],
    ['a', '"a" is a folder, and no file can take its place'],
    ['module', '"module" is a submodule, and no file can take its place'],
    ['module/x', '"module/…" needs a folder where "module" is a file'],
  ]
  for (const [name, complaint] of refused) {
    const answer = await browser.upload('/alice/merge/upload', [{ name, content: 'x' }])
    t.equal(answer.status, 422, name)
    t.equal(complaintOf(answer.text), complaint)
  }
  t.equal(await headOf('merge'), head)

  const same = await browser.upload('/alice/merge/upload', sent)
  t.equal(same.status, 200)
  t.match(same.text, 'Nothing changed: <bdi>main</bdi> has these files already, as they are.')
  t.equal(await headOf('merge'), head)
})

test('hostile names are refused, never mended', async (t) => {
  await pages.addRepo('Alice', 'names')
  const head = await headOf('names')
  const names = [
    '../x',
    'a/../../x',
    '..',
    '.',
    './x',
    '/etc/passwd',
    'a//b',
    'a/',
    '\\\\host\\x',
    'a\\b',
    'C:\\x\\y',
    '.git/config',
    '.GIT/hooks/pre-commit',
    'a/.git',
    'git~1/x',
    '.git./x',
    '.g\u200cit/x',
    'a\u202etxt.exe',
    'a\u0085b',
    'tab\tx',
    'x'.repeat(256),
    `${'d/'.repeat(64)}f`,
    'a%0Ab',
    'a%0D%0Ab',
    '.gitmodules/x',
  ]
  for (const name of names) {
    const answer = await browser.upload('/alice/names/upload', [{ name, content: 'x' }])
    t.equal(answer.status, 422, JSON.stringify(name))
    t.match(complaintOf(answer.text), /cannot be the path of a file|not a file/)
  }
  for (const folder of ['..', '.git', 'a/../b', 'a\\b', 'a//b', 'a\0b', '\u2028']) {
    const answer = await browser.upload('/alice/names/upload', [{ name: 'x', content: 'x' }], { folder, summary: '<i>kept & quoted"</i>' })
    t.equal(answer.status, 422, folder)
    t.match(complaintOf(answer.text), 'cannot be the path of a file')
    t.equal(valueOf(answer.text, 'summary'), '<i>kept & quoted"</i>', 'what was typed is there again')
    t.notMatch(answer.text, '<i>')
  }
  const twice = await browser.upload('/alice/names/upload', [
    { name: 'x', content: '1' },
    { name: 'x', content: '2' },
  ])
  t.equal(complaintOf(twice.text), '"x" is there twice among the files that were sent')
  const both = await browser.upload('/alice/names/upload', [
    { name: 'x', content: '1' },
    { name: 'x/y', content: '2' },
  ])
  t.equal(complaintOf(both.text), '"x/y" needs a folder where "x" is a file')
  const reverse = await browser.upload('/alice/names/upload', [
    { name: 'x/y', content: '1' },
    { name: 'x', content: '2' },
  ])
  t.equal(complaintOf(reverse.text), '"x" cannot be a file and a folder at once')
  const none = await browser.upload('/alice/names/upload', [])
  t.equal(none.status, 422)
  t.equal(complaintOf(none.text), 'no file was picked')
  t.equal((await browser.upload('/alice/names/upload', [{ name: '', content: '' }])).status, 422)
  t.equal(await headOf('names'), head)
})

test('branches: the one in the address, a new one, one in a repository without any, and none that cannot be', async (t) => {
  await pages.addRepo('Alice', 'branches')
  const main = (await headOf('branches'))!
  const page = await browser.get('/alice/branches/upload/feature/x')
  t.equal(valueOf(page.text, 'branch'), 'feature/x')
  t.equal(valueOf((await browser.get('/alice/branches/upload/feature%2Fx')).text, 'branch'), 'feature/x')
  const made = await browser.upload('/alice/branches/upload/feature/x', [{ name: 'new', content: 'x' }])
  t.equal(made.location, `/Alice/branches/upload/feature/x?committed=${await headOf('branches', 'feature/x')}`)
  t.equal(await headOf('branches'), main)
  t.equal(
    await out(await clone(t, 'branches', '-b', 'feature/x'), 'log', '--format=%P', '-1'),
    `${main}\n`,
    'a new branch goes on from the default one',
  )
  t.match((await browser.get('/alice/branches/upload')).text, '<option value="feature/x"></option><option value="main"></option>')

  for (const branch of ['', '..', 'a..b', 'HEAD', 'a b', '-x', 'x.lock', 'a\u0001', 'f'.repeat(40), 'x~1', '/x', 'x/']) {
    const answer = await browser.upload('/alice/branches/upload', [{ name: 'x', content: 'x' }], { branch })
    t.equal(answer.status, 422, branch)
    t.match(complaintOf(answer.text), 'cannot be the name of a branch')
  }
  const below = await browser.upload('/alice/branches/upload', [{ name: 'x', content: 'x' }], { branch: 'main/x' })
  t.equal(below.status, 409)
  t.equal(complaintOf(below.text), "Nothing was committed to main/x: 'refs/heads/main' exists; cannot create 'refs/heads/main/x'")

  await pages.addRepo('Alice', 'unborn', { empty: true })
  t.equal(valueOf((await browser.get('/alice/unborn/upload')).text, 'branch'), 'main')
  t.equal((await browser.upload('/alice/unborn/upload', [{ name: 'x', content: 'x' }])).status, 303)
  t.equal(await out(await clone(t, 'unborn'), 'log', '--format=%P|%s'), '|Upload x\n')

  t.notMatch(
    (await browser.get(`/alice/branches/upload/main?committed=${'a'.repeat(40)}`)).text,
    'role="status"',
    'a notice is not what somebody writes into an address',
  )
})

test('who was second is told so, and nothing of his is there', async (t) => {
  await pages.addRepo('Alice', 'race')
  const base = await headOf('race')
  const [one, two] = await Promise.all(['one', 'two'].map((name) => browser.upload('/alice/race/upload', [{ name, content: name }])))
  const statuses = [one!.status, two!.status].toSorted((a, b) => a - b)
  // Both may come through one after the other; what must not be is that one is lost and nobody is told.
  t.ok(['303,303', '303,409'].includes(statuses.join()), statuses.join())
  const cwd = await clone(t, 'race')
  t.equal((await out(cwd, 'rev-list', `${base}..HEAD`)).trim().split('\n').length, statuses.filter((status) => status === 303).length)
})

test('large files and those the branch says so of are kept in git-lfs, and the rest is not', async (t) => {
  await pages.addRepo('Alice', 'large')
  largeFiles.received.length = 0
  const weights = randomBytes(50_000)
  const big = Buffer.alloc(10 * 1024 * 1024 + 1, 'b')
  const files = [
    { name: 'model.safetensors', content: weights },
    { name: 'copy.bin', content: weights },
    { name: 'big file*.txt', content: big },
    { name: 'exactly.txt', content: big.subarray(1) },
    { name: 'empty.bin', content: '' },
    { name: 'x.txt', content: 'x' },
  ]
  t.equal((await browser.upload('/alice/large/upload', files, { folder: 'w' })).status, 303)
  const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
  t.same(largeFiles.received.toSorted(), [sha256(weights), sha256(big)].toSorted(), 'each content once')
  const cwd = await clone(t, 'large')
  await git(['fsck', '--strict', '--full'], { cwd })
  const show = (path: string) => out(cwd, 'cat-file', 'blob', `HEAD:${path}`)
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(weights)}\nsize 50000\n`
  t.equal(await show('w/model.safetensors'), pointer)
  t.equal(await show('w/copy.bin'), pointer)
  t.equal(await show('w/big file*.txt'), `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(big)}\nsize 10485761\n`)
  t.equal((await out(cwd, 'cat-file', '-s', 'HEAD:w/exactly.txt')).trim(), '10485760')
  t.equal(await show('w/empty.bin'), '', 'nothing is made of an empty file')
  t.match(await show('.gitattributes'), /\n\/w\/big\[\[:space:\]\]file\\\*\.txt filter=lfs diff=lfs merge=lfs -text\n$/)
  t.match(
    await out(cwd, 'check-attr', 'filter', 'w/big file*.txt', 'w/exactly.txt'),
    'w/big file*.txt: filter: lfs\nw/exactly.txt: filter: unspecified\n',
  )

  const again = await browser.upload('/alice/large/upload', [{ name: 'other.bin', content: weights }])
  t.equal(again.status, 303)
  t.equal(largeFiles.received.length, 2, 'what the repository has already is not stored again')
  const grown = await browser.upload('/alice/large/upload', [{ name: 'big file*.txt', content: Buffer.concat([big, big]) }], { folder: 'w' })
  t.equal(grown.status, 303)
  t.equal((await show('.gitattributes')).split('big[[:space:]]file').length, 2, 'declared once')
})

test('attributes that come along count at once', async (t) => {
  await pages.addRepo('Alice', 'attributes')
  const files = [
    { name: 'd/.gitattributes', content: '*.dat filter=lfs diff=lfs merge=lfs -text\n*.bin -filter\n' },
    { name: 'd/a.dat', content: 'a' },
    { name: 'd/b.bin', content: 'b' },
    { name: 'c.dat', content: 'c' },
  ]
  t.equal((await browser.upload('/alice/attributes/upload', files)).status, 303)
  const cwd = await clone(t, 'attributes')
  t.match(await out(cwd, 'cat-file', 'blob', 'HEAD:d/a.dat'), /^version /)
  t.equal(await out(cwd, 'cat-file', 'blob', 'HEAD:d/b.bin'), 'b')
  t.equal(await out(cwd, 'cat-file', 'blob', 'HEAD:c.dat'), 'c')
  const long = await browser.upload('/alice/attributes/upload', [{ name: '.gitattributes', content: Buffer.alloc(1024 * 1024 + 1, '\n') }])
  t.equal(long.status, 422)
})

test('a pointer to what the repository does not have is refused, whatever the file is called', async (t) => {
  await pages.addRepo('Alice', 'pointers')
  const head = await headOf('pointers')
  const oid = createHash('sha256').update('never sent').digest('hex')
  const content = `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize 10\n`
  for (const name of ['model.bin', 'notes.txt']) {
    const answer = await browser.upload('/alice/pointers/upload', [{ name, content }])
    t.equal(answer.status, 422)
    t.equal(complaintOf(answer.text), `1 git-lfs object missing: ${name} (${oid})`)
  }
  t.equal(await headOf('pointers'), head)
  await browser.upload('/alice/pointers/upload', [{ name: 'real.bin', content: 'never sent' }])
  t.equal((await browser.upload('/alice/pointers/upload', [{ name: 'model.bin', content }])).status, 303, 'one that it has is a file like any other')
})

test('the form has limits, and says which', async (t) => {
  await pages.addRepo('Alice', 'limits')
  const page = '/alice/limits/upload'
  const many = Array.from({ length: 101 }, (_, i) => ({ name: `f${i}`, content: 'x' }))
  t.equal((await browser.upload(page, many)).status, 413)
  t.equal((await browser.upload(page, many.slice(1))).status, 303)
  const long = await browser.upload(page, [{ name: 'x', content: 'x' }], { description: 'x'.repeat(64 * 1024 + 1) })
  t.equal(long.status, 413)
  const head = await headOf('limits')
  const csrf = formToken((await browser.get(page)).text)
  const other = await fetch(url + page, {
    method: 'POST',
    headers: { cookie: `cairn-session=${browser.cookies.get('cairn-session')}`, 'content-type': 'application/x-www-form-urlencoded' },
    body: `csrf=${csrf}`,
  })
  t.equal(other.status, 415)
  const json = await fetch(url + page, {
    method: 'POST',
    headers: { cookie: `cairn-session=${browser.cookies.get('cairn-session')}`, 'content-type': 'application/json' },
    body: '{}',
  })
  t.equal(json.status, 415)
  const broken = await fetch(url + page, {
    method: 'POST',
    headers: { cookie: `cairn-session=${browser.cookies.get('cairn-session')}`, 'content-type': 'multipart/form-data; boundary=x' },
    body: `--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n${csrf}\r\n--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\nhalf`,
  })
  t.ok(broken.status >= 400 && broken.status < 500, String(broken.status))
  t.equal(await headOf('limits'), head)

  const small = await openPages(t, { spoolBytes: 100_000 })
  const user = await small.addUser('Bo')
  await small.addRepo('Bo', 'm')
  const guest = new Browser(small.url)
  await guest.signIn(user.token)
  const over = await guest.upload('/bo/m/upload', [{ name: 'x', content: Buffer.alloc(100_001) }])
  t.equal(over.status, 413)
  t.match(complaintOf(over.text), 'over the 100000 bytes the hub has room for')
  t.same(readdirSync(small.spool), [])
  t.equal((await guest.upload('/bo/m/upload', [{ name: 'x', content: Buffer.alloc(100_000) }])).status, 303, 'room is given back')
})

test('who may write when he begins and not when he ends has changed nothing', async (t) => {
  await pages.addRepo('Alice', 'withdrawn')
  const head = await headOf('withdrawn')
  const sending = beginUpload(await formTokenOf('/alice/withdrawn/upload'), '/alice/withdrawn/upload')
  await until(() => waiting().length === 1)
  const repo = await stateOf('withdrawn')
  await domain.versions.changing({ repoId: repo.id }, () =>
    domain.db.execute(sql`UPDATE repositories SET disabled = true, access_ver = access_ver + 1 WHERE id = ${repo.id}`),
  )
  t.equal(await sending.end(), 403)
  t.equal(await headOf('withdrawn'), head)
})

test('who leaves in the middle leaves nothing behind', async (t) => {
  await pages.addRepo('Alice', 'left')
  const head = await headOf('left')
  const sending = beginUpload(await formTokenOf('/alice/left/upload'), '/alice/left/upload')
  await until(() => waiting().length === 1)
  sending.leave()
  await until(() => waiting().length === 0)
  t.equal(await headOf('left'), head)
})

const formTokenOf = async (page: string): Promise<string> => formToken((await browser.get(page)).text)

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !isSo(); i++) await delay(25)
}

/** An upload that stops in the middle of its only file. */
function beginUpload(csrf: string, path: string) {
  const request = httpRequest(url + path, {
    method: 'POST',
    headers: { cookie: `cairn-session=${browser.cookies.get('cairn-session')}`, 'content-type': 'multipart/form-data; boundary=x', origin: url },
  })
  const answered = new Promise<number | undefined>((resolve) => {
    request.on('response', (response) => resolve(response.resume().statusCode)).on('error', () => resolve(undefined))
  })
  request.write(`--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n${csrf}\r\n`)
  request.write(`--x\r\ncontent-disposition: form-data; name="branch"\r\n\r\nmain\r\n`)
  request.write(`--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n${'x'.repeat(300_000)}`)
  return {
    end() {
      request.end('\r\n--x--\r\n')
      return answered
    },
    leave: () => request.destroy(),
  }
}
