import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { findChromium, openChromium } from '../support/tools/chromium.js'

const hub = await startHub(t)
const run = promisify(execFile)
const chromium = await findChromium()

/** curl with a cookie jar, as somebody without a browser uses the form. */
async function curl(jar: string, ...args: string[]): Promise<string> {
  return (await run('curl', ['-sS', '-b', jar, '-c', jar, ...args], { encoding: 'utf8', maxBuffer: 2 ** 24 })).stdout
}
const lastToken = (page: string): string => [...page.matchAll(/name="csrf" value="([^"]*)"/g)].at(-1)![1]!

async function curlSignsIn(jar: string): Promise<void> {
  const csrf = lastToken(await curl(jar, `${hub.url}/sign-in`))
  const code = await curl(
    jar,
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '-d',
    `csrf=${csrf}`,
    '--data-urlencode',
    `token=${hub.token}`,
    `${hub.url}/sign-in`,
  )
  if (code !== '303') throw new Error(`signing in answered ${code}`)
}

t.test('curl signs in, sends files, and git clones them', async (t) => {
  await hub.api('POST', '/api/repos/create', { name: 'by-curl', type: 'dataset', private: true })
  const dir = t.testdir({ 'notes.txt': 'notes\n' })
  const noise = randomBytes(3_000_000)
  writeFileSync(join(dir, 'noise'), noise)
  const jar = join(dir, 'jar')
  await curlSignsIn(jar)
  const page = `${hub.url}/datasets/admin/by-curl/upload`
  const csrf = lastToken(await curl(jar, page))
  const form = ['-F', `csrf=${csrf}`, '-F', 'branch=main', '-F', 'folder=raw', '-F', 'summary=By curl']
  const headers = await curl(jar, '-o', '/dev/null', '-D', '-', ...form, '-F', `files=@${dir}/notes.txt`, '-F', `files=@${dir}/noise`, page)
  t.match(headers, /^HTTP\/1\.1 303 /m)
  const [, commit] = /committed=([0-9a-f]{40})/.exec(headers) ?? []
  const cwd = join(dir, 'clone')
  await git(['clone', '-q', hub.remote('datasets/admin/by-curl'), cwd])
  t.equal((await git(['log', '-1', '--format=%H|%an|%ae|%s'], { cwd })).stdout.toString(), `${commit}|admin|admin@users.noreply|By curl\n`)
  t.ok(readFileSync(join(cwd, 'raw/noise')).equals(noise))
  t.equal(readFileSync(join(cwd, 'raw/notes.txt'), 'utf8'), 'notes\n')
  t.notOk(hub.output().includes(hub.token), 'the token is in no log')
})

t.test('a person with a browser and a keyboard signs in, picks files and has a commit', { skip: chromium.missing }, async (t) => {
  await hub.api('POST', '/api/repos/create', { name: 'by-hand', type: 'model' })
  const dir = t.testdir()
  mkdirSync(join(dir, 'files'))
  const names = ['ünï "q" & <b>.txt', 'plain.md']
  for (const name of names) writeFileSync(join(dir, 'files', name), name)
  const page = await openChromium(t)

  await page.goto(`${hub.url}/admin/by-hand/upload`)
  t.equal(await page.look('location.pathname + location.search'), '/sign-in?next=%2Fadmin%2Fby-hand%2Fupload')
  t.same(
    await page.look(
      '[...document.querySelectorAll("input:not([type=hidden], [hidden]), textarea, select")].filter((field) => field.labels.length !== 1).length',
    ),
    0,
    'every field has its label',
  )
  await page.press('Tab')
  t.equal(await page.look('document.activeElement.textContent'), 'Skip to the content')
  await page.focus('#token')
  await page.type(hub.token)
  await page.leaveBy(() => page.press('Enter'))
  t.equal(await page.look('location.pathname'), '/admin/by-hand/upload')
  t.equal(await page.look('document.cookie'), '', 'no script gets to see the cookie')
  t.match(await page.look('document.querySelector("header").innerText'), 'Signed in as admin')
  t.not(await page.look('getComputedStyle(document.body).fontFamily'), 'serif', 'the style sheet applies')

  t.same(
    await page.look(
      '[...document.querySelectorAll("input:not([type=hidden], [hidden]), textarea, select")].filter((field) => field.labels.length !== 1).length',
    ),
    0,
  )
  await page.focus('#summary')
  await page.type('By hand')
  await page.press('Tab')
  t.equal(await page.look('document.activeElement.id'), 'description')
  await page.type('Two\nlines')
  await page.pickFiles(
    '#files',
    names.map((name) => join(dir, 'files', name)),
  )
  await page.focus('main button')
  await page.leaveBy(() => page.press('Enter'))
  const cwd = join(dir, 'clone')
  await git(['clone', '-q', hub.remote('admin/by-hand'), cwd])
  const head = (await git(['rev-parse', 'HEAD'], { cwd })).stdout.toString().trim()
  t.equal(await page.look('document.querySelector("[role=status]").innerText'), `Commit ${head.slice(0, 12)} is on main now.`)
  t.equal((await git(['log', '-1', '--format=%an|%B'], { cwd })).stdout.toString(), 'admin|By hand\n\nTwo\nlines\n\n')
  for (const name of names) t.equal(readFileSync(join(cwd, name), 'utf8'), name)

  await page.focus('#folder')
  await page.type('.git')
  await page.pickFiles('#files', [join(dir, 'files', 'plain.md')])
  await page.focus('main button')
  await page.leaveBy(() => page.press('Enter'))
  t.match(await page.look('document.querySelector("[role=alert]").innerText'), '".git/plain.md" cannot be the path of a file')
  t.equal(await page.look('document.querySelector("#folder").value'), '.git')

  await page.focus('header button')
  await page.leaveBy(() => page.press('Enter'))
  t.match(await page.look('document.querySelector("header").innerText'), 'Not signed in')
  // The 422 itself is in the browser's log; nothing was blocked.
  t.same(
    page.complaints.filter((text) => !/status of (422|404)/.test(text)),
    [],
  )
})

t.test('another site cannot make the browser send the form', { skip: chromium.missing }, async (t) => {
  await hub.api('POST', '/api/repos/create', { name: 'target', type: 'model' })
  const page = await openChromium(t)
  await page.goto(`${hub.url}/sign-in?next=/admin/target/upload`)
  await page.focus('#token')
  await page.type(hub.token)
  await page.leaveBy(() => page.press('Enter'))
  const csrf = await page.look<string>('document.querySelector("main [name=csrf]").value')
  // Even one that has got hold of the form's token: another origin on the same host, so that SameSite lets the cookie through.
  const attack = (action: string) =>
    `<form method="post" enctype="multipart/form-data" action="${action}"><input name="csrf" value="${csrf}"><input name="branch" value="main"><button>x</button></form>`
  const { createServer } = await import('node:http')
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(attack(`${hub.url}/admin/target/upload`))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  await page.goto(`http://127.0.0.1:${(server.address() as { port: number }).port}/`)
  await page.focus('button')
  await page.leaveBy(() => page.press('Enter'))
  t.equal(await page.look('location.href'), `${hub.url}/admin/target/upload`)
  t.match(await page.look('document.body.innerText'), 'another site')
})

const [gitLfs] = await findGitLfs()
t.test('weights go to git-lfs, and come back with a clone', { skip: gitLfs!.found.missing }, async (t) => {
  await hub.api('POST', '/api/repos/create', { name: 'weights', type: 'model' })
  const dir = t.testdir()
  const weights = randomBytes(12_000_000)
  writeFileSync(join(dir, 'model.safetensors'), weights)
  writeFileSync(join(dir, 'big file.txt'), weights)
  const jar = join(dir, 'jar')
  await curlSignsIn(jar)
  const page = `${hub.url}/admin/weights/upload`
  const csrf = lastToken(await curl(jar, page))
  const code = await curl(
    jar,
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '-F',
    `csrf=${csrf}`,
    '-F',
    'branch=main',
    '-F',
    `files=@${dir}/model.safetensors`,
    '-F',
    `files=@${dir}/big file.txt`,
    page,
  )
  t.equal(code, '303')
  const cwd = join(dir, 'clone')
  const lfs = ['-c', 'filter.lfs.smudge=git-lfs smudge -- %f', '-c', 'filter.lfs.process=git-lfs filter-process', '-c', 'filter.lfs.required=true']
  await git([...lfs, 'clone', '-q', hub.remote('admin/weights'), cwd])
  t.match(
    (await git(['cat-file', 'blob', 'HEAD:model.safetensors'], { cwd })).stdout.toString(),
    `oid sha256:${createHash('sha256').update(weights).digest('hex')}\nsize 12000000\n`,
  )
  t.ok(readFileSync(join(cwd, 'model.safetensors')).equals(weights))
  t.ok(readFileSync(join(cwd, 'big file.txt')).equals(weights), 'by the line that .gitattributes got for it')
})
