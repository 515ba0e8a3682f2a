/** `deploy/nginx.conf` in a real nginx before a real hub, with real git and git-lfs. */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot, startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, sha256Of, someBytes } from '../support/tools/lfs-person.js'
import { findNginx, readSite, startNginx } from '../support/tools/nginx.js'
import { openTcpGate } from '../support/tools/tcp-gate.js'

const MB = 1e6
const nginxFound = await findNginx()
const [gitLfs] = await findGitLfs()
const skip = nginxFound.missing || gitLfs!.found.missing
const buffered = 'buffered to a temporary file'
const hostOf = (url: string): string => new URL(url).host

t.test('what would cut off long pushes and big files is set', async (t) => {
  const site = (await readSite()).replaceAll(/#.*$/gm, '')
  const directives = Object.fromEntries([...site.matchAll(/^\s*(\w+) ([^;{}]+);$/gm)].map(([, name, value]) => [name!, value!]))
  const expected = {
    client_max_body_size: '0',
    // nginx's own are 60 s.
    proxy_read_timeout: '3600s',
    proxy_send_timeout: '3600s',
    client_body_timeout: '300s',
    send_timeout: '300s',
    proxy_request_buffering: 'off',
    proxy_buffering: 'off',
    proxy_http_version: '1.1',
    proxy_pass: 'http://cairn',
    gzip: 'off',
  }
  t.match(directives, expected)
  t.notMatch(site, /ip_hash|sticky/)
})

t.test('the manual shows the file as it is', async (t) => {
  const manual = readFileSync(join(projectRoot, 'docs', 'reverse-proxies.md'), 'utf8')
  t.ok(manual.includes(`\n\`\`\`nginx\n${await readSite()}\`\`\`\n`))
})

t.test('two hubs behind nginx', { skip }, async (t) => {
  const program = nginxFound.tool!
  const hub = await startHub(t, { env: { CAIRN_TRUSTED_PROXIES: '127.0.0.1' } })
  const admin = await lfsPerson(t, { hub, gitLfs: gitLfs!.found.tool!, name: 'admin' })
  // The second address is the same hub by another way, which can be taken away.
  const closeSecond: (() => unknown)[] = []
  const second = await openTcpGate({ teardown: (work) => closeSecond.push(work) }, hub.url)
  t.teardown(() => closeSecond.forEach((close) => close()))
  const hubs = [hostOf(hub.url), hostOf(second.url)] as const
  const nginx = await startNginx(t, { program, hubs })
  await admin.signIn(nginx.url)
  await admin.createRepo({ name: 'weights', type: 'model', private: true })
  const dir = t.testdir()
  const work = join(dir, 'work')
  const big = someBytes(50 * MB)

  const uploadAction = async (url: string, bytes: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<string> => {
    const answer = await fetch(`${url}/admin/weights.git/info/lfs/objects/batch`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${hub.token}`,
        accept: 'application/vnd.git-lfs+json',
        'content-type': 'application/vnd.git-lfs+json',
        ...headers,
      },
      body: JSON.stringify({ operation: 'upload', transfers: ['basic'], objects: [{ oid: sha256Of(bytes), size: bytes.length }] }),
    })
    const { objects } = (await answer.json()) as { objects: { actions: { upload: { href: string } } }[] }
    return objects[0]!.actions.upload.href
  }

  await t.test('a push of a few megabytes, 50 MB of git-lfs and a clone pass, and nothing is written on the way', async (t) => {
    const seen = new Set<string>()
    const watch = setInterval(() => void nginx.temporaryFiles().then((files) => files.forEach((file) => seen.add(file))), 20)
    t.teardown(() => clearInterval(watch))
    await admin.git(['clone', '-q', `${nginx.url}/admin/weights`, work])
    const source = someBytes(4 * MB).toString('base64')
    await admin.commit(work, { 'big.safetensors': big, 'source.txt': source })
    await admin.git(['push', '-q', 'origin', 'main', 'main:refs/heads/topic/one'], work)
    const clone = join(dir, 'clone')
    await admin.git(['clone', '-q', `${nginx.url}/admin/weights`, clone])
    t.ok(big.equals(await readFile(join(clone, 'big.safetensors'))))
    t.equal(await readFile(join(clone, 'source.txt'), 'utf8'), source)
    clearInterval(watch)
    t.same([...seen], [])
    t.notMatch(await nginx.errorLog(), buffered)
  })

  await t.test('both hubs are asked, in turn', async (t) => {
    const log = await nginx.accessLog()
    for (const host of hubs) t.ok(log.split('\n').filter((line) => line.endsWith(` ${host}`)).length >= 3, host)
  })

  await t.test('signatures are not in the log', async (t) => {
    t.match(await nginx.accessLog(), /"PUT \/admin\/weights\.git\/info\/lfs\/objects\/[0-9a-f]{64} HTTP\/1\.1" 200 /)
    t.notMatch(await nginx.accessLog(), 'token=')
  })

  await t.test('%2F in a branch name comes through', async (t) => {
    const answer = await fetch(`${nginx.url}/admin/weights/resolve/topic%2Fone/source.txt`, {
      headers: { authorization: `Bearer ${hub.token}`, 'accept-encoding': 'gzip' },
    })
    t.equal(answer.status, 200)
    t.equal(answer.headers.get('content-encoding'), null)
    t.equal((await answer.text()).length, 5_333_336)
  })

  await t.test('links begin with the address of nginx, whatever a client says of itself', async (t) => {
    const told = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' }
    const href = await uploadAction(nginx.url, someBytes(10), told)
    t.ok(href.startsWith(`${nginx.url}/admin/weights.git/info/lfs/objects/`), href.replace(/\?.*/, ''))
  })

  await t.test('without our lines nginx refuses the same upload, or writes it to its disk', async (t) => {
    const bytes = someBytes(5 * MB)
    const put = async (change: (site: string) => string) => {
      const other = await startNginx(t, { program, hubs, change })
      const { status } = await fetch(await uploadAction(other.url, bytes), { method: 'PUT', body: bytes })
      return { status, written: (await other.errorLog()).includes(buffered) }
    }
    t.same(await put((site) => site.replace('client_max_body_size 0;', '')), { status: 413, written: false })
    t.same(await put((site) => site.replace('proxy_request_buffering off;', '')), { status: 200, written: true })
  })

  await t.test('when one hub is gone the other has it all', async (t) => {
    for (const close of closeSecond.splice(0)) close()
    for (let i = 0; i < 3; i++) {
      await admin.commit(work, { [`more-${i}.txt`]: someBytes(MB).toString('base64') })
      await admin.git(['push', '-q', 'origin', 'main'], work)
    }
    const log = await nginx.accessLog()
    t.match(log, `${hubs[1]}, ${hubs[0]}`, 'one request was sent on to the other')
    t.notMatch(log, /" 50\d /)
  })
})
