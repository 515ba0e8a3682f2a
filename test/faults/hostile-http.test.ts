import { randomBytes } from 'node:crypto'
import t from 'tap'
import { workTree } from '../support/domain.js'
import { git } from '../support/git.js'
import { basic, fetchBody, get, health, history, makeEmpty, makeUser, post, push, requestHead, sendRaw, v2, zero } from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { pkts } from '../support/wire.js'

const hub = await startHub(t)
const { oid: tip, pack: wholePack } = history('hello\n')

const open = await makeEmpty(hub, 'open')
const closed = await makeEmpty(hub, 'closed', { private: true })
const stranger = await makeUser(hub, 'stranger')
for (const repo of [open, closed]) {
  const { refs } = await push(hub, repo, [[zero, tip, 'refs/heads/main']], wholePack)
  if (refs[0] !== 'ok refs/heads/main') throw new Error(`setting up ${repo}: ${refs.join()}`)
}

const lsRefs = pkts('command=ls-refs', '0001', '0000')
const uploadHeaders = ['Content-Type: application/x-git-upload-pack-request', 'Git-Protocol: version=2']

t.test('heads that are too long or no HTTP are refused, and the hub goes on', async (t) => {
  const cases: readonly [what: string, bytes: string | Buffer, statuses: readonly number[]][] = [
    ['a header of 100 KB', requestHead(hub, `GET /${open}/info/refs?service=git-upload-pack`, [`X-Long: ${'x'.repeat(100_000)}`]), [431]],
    [
      '50,000 headers',
      requestHead(
        hub,
        'GET /healthz',
        Array.from({ length: 50_000 }, (_, i) => `X-${i}: ${i}`),
      ),
      [431],
    ],
    ['a request line of 100 KB', requestHead(hub, `GET /${'a'.repeat(100_000)}`), [431]],
    ['a header with a NUL', requestHead(hub, 'GET /healthz', ['X-Nul: a\0b']), [400]],
    ['a header with a bare CR', requestHead(hub, 'GET /healthz', ['X-Cr: a\rX-Other: b']), [400]],
    ['a folded Host', `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n evil\r\n\r\n`, [400]],
    ['no method', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', [400]],
    ['random bytes', randomBytes(4096), [400]],
    ['two Hosts', `GET /api/whoami-v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nhost: 127.0.0.1\r\n\r\n`, [400]],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', [400]],
    ['an unknown method', requestHead(hub, 'BREW /healthz'), [400]],
  ]
  for (const [what, bytes, statuses] of cases) {
    const answer = await sendRaw(hub, bytes)
    t.same(answer.statuses, statuses, `${what}: ${answer.text.slice(0, 200)}`)
    t.ok((await health(hub)) < 1_000)
  }
})

t.test('a body whose length can be read in two ways is refused and its connection closed', async (t) => {
  const target = `POST /${open}/git-upload-pack`
  const smuggled = requestHead(hub, 'GET /healthz')
  const chunked = `${lsRefs.length.toString(16)}\r\n${lsRefs.toString('latin1')}\r\n0\r\n\r\n`
  const cases: readonly [what: string, headers: readonly string[], body: string][] = [
    ['Content-Length and chunked', ['Content-Length: 4', 'Transfer-Encoding: chunked'], `0\r\n\r\n${smuggled}`],
    ['chunked and Content-Length', ['Transfer-Encoding: chunked', `Content-Length: ${chunked.length}`], chunked + smuggled],
    ['two Content-Lengths', ['Content-Length: 4', `Content-Length: ${lsRefs.length}`], lsRefs.toString('latin1') + smuggled],
    ['two that agree', [`Content-Length: ${lsRefs.length}`, `Content-Length: ${lsRefs.length}`], lsRefs.toString('latin1') + smuggled],
    ['a list of them', ['Content-Length: 4, 4'], `0000${smuggled}`],
    ['a negative one', ['Content-Length: -1'], smuggled],
    ['one in hex', ['Content-Length: 0x4'], `0000${smuggled}`],
    ['one past 2^64', ['Content-Length: 18446744073709551620'], `0000${smuggled}`],
    ['chunked before something else', ['Transfer-Encoding: chunked, identity'], chunked + smuggled],
    ['chunked in disguise', ['Transfer-Encoding: xchunked'], chunked + smuggled],
    ['a chunk length that is none', ['Transfer-Encoding: chunked'], `zz\r\n0000\r\n0\r\n\r\n${smuggled}`],
    ['a chunk length past 2^64', ['Transfer-Encoding: chunked'], `10000000000000004\r\n0000\r\n0\r\n\r\n${smuggled}`],
    ['a chunk that ends elsewhere', ['Transfer-Encoding: chunked'], `2\r\n000\r\n0\r\n\r\n${smuggled}`],
  ]
  for (const [what, headers, body] of cases) {
    const answer = await sendRaw(hub, requestHead(hub, target, [...uploadHeaders, ...headers]) + body)
    t.match(answer.text, /^HTTP\/1\.1 400 /, what)
    t.equal(answer.statuses.length, 1, `${what}: what came behind is no request`)
    t.ok(answer.closed, `${what}: closed`)
  }
  await health(hub)
})

t.test('requests in a row on one connection are each answered', async (t) => {
  const one = requestHead(hub, 'GET /healthz')
  const two = requestHead(hub, `POST /${open}/git-upload-pack`, [...uploadHeaders, `Content-Length: ${lsRefs.length}`]) + lsRefs.toString('latin1')
  const { statuses, text } = await sendRaw(hub, one + two + one)
  t.same(statuses, [200, 200, 200])
  t.match(text, `${tip} refs/heads/main`)
})

t.test('paths that climb, hide or name what cannot be are 400, 401 or 404', async (t) => {
  const service = 'info/refs?service=git-upload-pack'
  const paths = [
    `/${open}/../closed/${service}`,
    `/admin/../../etc/passwd`,
    `/admin/%2e%2e/${service}`,
    `/admin/%2e%2e%2fclosed/${service}`,
    `/admin/..%2fclosed/${service}`,
    `/%2e%2e/%2e%2e/${service}`,
    `/admin%2fopen/${service}`,
    `/admin/open%00/${service}`,
    `/admin/%00/${service}`,
    `/%00/open/${service}`,
    `/admin/open%0d%0aSet-Cookie:%20x=y/${service}`,
    `/admin//open/${service}`,
    `/admin/open//${service}`,
    `/admin/open%20/${service}`,
    `/admin/%6fp\u00e9n/${service}`,
    `/admin/%c3%28/${service}`,
    `/admin/%ff%fe/${service}`,
    `/admin/%zz/${service}`,
    `/admin/%/${service}`,
    `/admin/\xe9\xff/${service}`,
    `/admin/%F0%9F%98%80/${service}`,
    `/admin/.git/${service}`,
    `/admin/open.git.git/${service}`,
    `/.git/open/${service}`,
    `/.git/config`,
    `/datasets/${service}`,
    `/datasets/open/${service}`,
    `/datasets/datasets/open/${service}`,
    `/spaces/datasets/x/${service}`,
    `/api/open/${service}`,
    `/healthz/open/${service}`,
    `/admin/${'x'.repeat(8_192)}/${service}`,
    `/${'x'.repeat(8_192)}/open/${service}`,
    `/admin/${'%41'.repeat(2_500)}/${service}`,
    `/admin/-open/${service}`,
    `/admin/open;x=y/${service}`,
    `/admin/open\\..\\closed/${service}`,
    `/admin/CON/${service}`,
    `/admin/open/objects/../../closed/HEAD`,
    `/admin/open/objects/%2e%2e/%2e%2e/closed/HEAD`,
    `/admin/__proto__/${service}`,
    `/constructor/prototype/${service}`,
    '*',
    'http://elsewhere.example/admin/closed/info/refs?service=git-upload-pack',
    '//elsewhere.example/admin/closed/info/refs?service=git-upload-pack',
  ]
  for (const path of paths) {
    for (const headers of [[], [`Authorization: ${basic(stranger)}`]]) {
      const { statuses, text } = await sendRaw(hub, requestHead(hub, `GET ${path}`, [...headers, 'Connection: close']))
      const what = `${path.slice(0, 80)} ${headers.length === 0 ? 'by nobody' : 'by a stranger'}`
      if (statuses.length !== 1 || ![400, 401, 404].includes(statuses[0]!)) t.fail(`${what}: ${text.slice(0, 300)}`)
      t.notMatch(text, /set-cookie|root:/i, what)
      t.notMatch(text, tip, what)
    }
  }
  // The same repository by other spellings of its address is the same repository.
  for (const path of [
    `//${open}/${service}`,
    `/admin/%6fpen/${service}`,
    `/${open}.git/${service}`,
    `/${open}/info/refs?x=1&service=git-upload-pack`,
  ]) {
    t.same((await sendRaw(hub, requestHead(hub, `GET ${path}`, ['Connection: close']))).statuses, [200], path)
  }
  await health(hub)
})

t.test('the dumb protocol is told to come back smart, and an unknown service is forbidden, in the same words wherever it is asked', async (t) => {
  for (const path of ['info/refs', 'HEAD', 'objects/info/packs', 'objects/aa/bb', `objects/pack/pack-${tip}.pack`, 'objects/info/http-alternates']) {
    const answer = await get(hub, `${open}/${path}`, { token: '' })
    t.equal(answer.status, 404, path)
    t.match(answer.headers.get('content-type'), 'text/plain')
  }
  t.equal((await get(hub, `${closed}/HEAD`, { token: '' })).status, 401)
  t.equal((await get(hub, `${closed}/objects/info/packs`, { token: stranger })).status, 404)

  const services = ['git-upload-archive', 'git-evil', '', 'git-upload-pack%00', 'GIT-UPLOAD-PACK', 'git-upload-pack&service=git-receive-pack']
  for (const service of services) {
    const said = new Set<string>()
    for (const repo of [open, closed, 'admin/absent', 'nobody/absent']) {
      for (const token of ['', stranger]) {
        const { status, text, headers } = await get(hub, `${repo}/info/refs?service=${service}`, { token })
        said.add(`${status} ${headers.get('content-type')} ${headers.get('www-authenticate')} ${text}`)
      }
    }
    t.equal(said.size, 1, service)
    t.match([...said][0], /^403 text\/plain/, service)
  }
})

t.test('private and absent look the same, on the first request and on the second', async (t) => {
  const look = async (repo: string, token: string): Promise<string[]> => {
    const answers = [
      await get(hub, `${repo}/info/refs?service=git-upload-pack`, { token }),
      await get(hub, `${repo}/info/refs?service=git-receive-pack`, { token }),
      await post(hub, repo, 'git-upload-pack', lsRefs, { headers: v2, token }),
      await post(hub, repo, 'git-receive-pack', pkts('0000'), { token }),
    ]
    return answers.map(({ status, text, headers }) => `${status} ${headers.get('www-authenticate')} ${headers.get('content-type')} ${text}`)
  }
  for (const token of ['', stranger]) {
    const here = await look(closed, token)
    t.same(here, await look('admin/absent', token))
    t.same(here, await look('nobody/absent', token))
    t.same(
      here.map((line) => line.slice(0, 3)),
      Array.from({ length: 4 }, () => (token === '' ? '401' : '404')),
    )
  }
  t.match((await look(closed, ''))[0], 'Basic realm="Cairn"')
})

t.test('what info/refs refuses is plain text, and git prints it', async (t) => {
  const refused = await get(hub, `${open}/info/refs?service=git-receive-pack`, { token: stranger })
  t.equal(refused.status, 403)
  t.equal(refused.headers.get('content-type'), 'text/plain; charset=utf-8')
  const work = await workTree(t.testdir())
  await work.commit({ a: 'a' })
  const { stderr } = await git(['push', hub.remote(open, stranger), 'main'], { cwd: work.cwd, ok: false })
  t.match(stderr, `remote: ${refused.text.trim()}`)
  const lost = await git(['ls-remote', hub.remote('admin/absent')], { ok: false })
  t.match(lost.stderr, 'remote: Repository not found')
})

t.test('answers are never compressed, and no cache keeps them', async (t) => {
  const headers = { ...v2, 'accept-encoding': 'gzip, deflate, br, zstd' }
  const answers = [
    await post(hub, open, 'git-upload-pack', fetchBody([tip]), { headers }),
    await post(hub, open, 'git-upload-pack', lsRefs, { headers }),
    await get(hub, `${open}/info/refs?service=git-upload-pack`, { headers }),
    await get(hub, `${closed}/info/refs?service=git-upload-pack`, { headers, token: '' }),
  ]
  for (const answer of answers) {
    t.equal(answer.headers.get('content-encoding'), null)
    t.equal(answer.headers.get('cache-control'), 'no-cache, max-age=0, must-revalidate')
    t.equal(answer.headers.get('expires'), 'Fri, 01 Jan 1980 00:00:00 GMT')
    t.equal(answer.headers.get('pragma'), 'no-cache')
  }
})

t.test('methods and upgrades that nobody serves do no harm, and HTTP/1.0 is served', async (t) => {
  const target = `/${open}/info/refs?service=git-upload-pack`
  for (const method of ['HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'PROPFIND', 'POST', 'M-SEARCH']) {
    const { statuses, text } = await sendRaw(hub, requestHead(hub, `${method} ${target}`, ['Content-Length: 0', 'Connection: close']))
    t.ok(statuses.length === 1 && statuses[0]! >= 400 && statuses[0]! < 500, `${method}: ${text.slice(0, 100)}`)
  }
  t.ok((await sendRaw(hub, requestHead(hub, 'CONNECT elsewhere.example:443'))).closed)
  const upgrade = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']
  t.same((await sendRaw(hub, requestHead(hub, `GET ${target}`, upgrade))).statuses, [200])
  const old = await sendRaw(hub, `GET ${target} HTTP/1.0\r\nHost: ${new URL(hub.url).host}\r\n\r\n`)
  t.notMatch(old.text, /transfer-encoding/i)
  t.match(old.text, `${tip} refs/heads/main\n0000`)
  t.ok(old.closed)
})

t.test('none of this was a failure of the hub', async (t) => {
  t.notMatch(hub.output(), /"level":[56]0/)
})
