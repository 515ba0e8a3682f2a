import { request as httpRequest } from 'node:http'
import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { revokeToken } from '../../../src/db/tokens.js'
import { hashToken } from '../../../src/auth/tokens.js'
import { Browser, complaintOf, formToken, lastFormToken, openPages, valueOf } from '../../support/pages.js'

const pages = await openPages(t)
const { url, domain } = pages
const admin = await pages.addUser('root', { isAdmin: true })
const owner = await pages.addUser('Alice')
const reader = await pages.addUser('Rita', { role: 'read' })
const stranger = await pages.addUser('bob')
for (const type of ['model', 'dataset', 'space'] as const) {
  await pages.addRepo('Alice', 'Open', { type })
  await pages.addRepo('Alice', 'secret', { type, visibility: 'private' })
  await pages.addRepo('Rita', 'hers', { type })
}

const signedIn = async (token: string): Promise<Browser> => {
  const browser = new Browser(url)
  const { status } = await browser.signIn(token)
  if (status !== 303) throw new Error(`sign-in answered ${status}`)
  return browser
}
const browsers: Readonly<Record<string, Browser>> = {
  anonymous: new Browser(url),
  stranger: await signedIn(stranger.token),
  reader: await signedIn(reader.token),
  owner: await signedIn(owner.token),
  admin: await signedIn(admin.token),
}

t.test('who sees the upload page, and whose files are taken', async (t) => {
  const callers = ['anonymous', 'stranger', 'reader', 'owner', 'admin']
  /*                                    anonymous stranger reader owner admin */
  const table: Record<string, { get: string; post: string }> = {
    'alice/open': { get: '303 403 403 200 200', post: '403 403 403 403 403' },
    'alice/secret': { get: '404 404 404 200 200', post: '404 404 404 403 403' },
    'alice/absent': { get: '404 404 404 404 404', post: '404 404 404 404 404' },
    'nobody/absent': { get: '404 404 404 404 404', post: '404 404 404 404 404' },
    'rita/hers': { get: '303 403 403 403 200', post: '403 403 403 403 403' },
  }
  for (const prefix of ['', '/datasets', '/spaces']) {
    for (const place of ['upload', 'upload/main', 'upload/feature/x']) {
      for (const [name, { get, post }] of Object.entries(table)) {
        const path = `${prefix}/${name}/${place}`
        const seen = []
        const sent = []
        for (const caller of callers) {
          seen.push((await browsers[caller]!.get(path)).status)
          // Without the form's token: whoever gets past the access decision stops there.
          sent.push((await browsers[caller]!.multipart(path, [{ name: 'x', content: 'x' }], { branch: 'main' })).status)
        }
        t.equal(seen.join(' '), get, `GET ${path}`)
        t.equal(sent.join(' '), post, `POST ${path}`)
      }
    }
  }
})

t.test('who is not signed in is led to sign in and back again; only for what all may see', async (t) => {
  const browser = new Browser(url)
  const asked = await browser.get('/alice/Open/upload/feature/x?a=b')
  t.equal(asked.location, '/sign-in?next=%2Falice%2FOpen%2Fupload%2Ffeature%2Fx%3Fa%3Db')
  t.equal(asked.headers.get('www-authenticate'), null)
  const form = await browser.get(asked.location!)
  t.equal(valueOf(form.text, 'next'), '/alice/Open/upload/feature/x?a=b')
  const done = await browser.signIn(owner.token, '/alice/Open/upload/feature/x?a=b')
  t.equal(done.status, 303)
  t.equal(done.location, '/alice/Open/upload/feature/x?a=b')
  t.equal((await browser.get(done.location!)).status, 200)
  for (const next of ['//evil.example', 'https://evil.example', '/\\evil.example', 'javascript:alert(1)']) {
    const again = new Browser(url)
    const page = await again.get(`/sign-in?next=${encodeURIComponent(next)}`)
    t.equal(valueOf(page.text, 'next'), '', next)
    const sent = await again.post('/sign-in', { csrf: lastFormToken(page.text), token: owner.token, next })
    t.equal(sent.location, '/sign-in', next)
  }
})

t.test('private and absent look the same from outside', async (t) => {
  const plain = ({ text, status, headers }: Awaited<ReturnType<Browser['get']>>) => ({
    status,
    text: text.replace(/secret|absent/g, 'NAME'),
    headers: [...headers].filter(([name]) => !['x-request-id', 'date', 'content-length', 'connection', 'keep-alive'].includes(name)),
  })
  for (const caller of ['anonymous', 'stranger']) {
    t.same(plain(await browsers[caller]!.get('/alice/secret/upload')), plain(await browsers[caller]!.get('/alice/absent/upload')))
    t.same(
      plain(await browsers[caller]!.multipart('/alice/secret/upload', [], {})),
      plain(await browsers[caller]!.multipart('/alice/absent/upload', [], {})),
    )
  }
})

t.test('a session opens pages and nothing else; a token in a header opens no page', async (t) => {
  const cookie = [...browsers['owner']!.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const status = async (method: string, path: string, headers: Record<string, string>, body?: string) =>
    (await fetch(url + path, { method, headers, redirect: 'manual', ...(body === undefined ? {} : { body }) })).status
  t.equal(await status('GET', '/alice/secret/upload', { cookie }), 200)
  const json = { 'content-type': 'application/json' }
  const elsewhere: readonly (readonly [method: string, path: string, headers: Record<string, string>, body?: string])[] = [
    ['GET', '/api/whoami-v2', {}],
    ['GET', '/api/models/alice/secret', {}],
    ['GET', '/alice/secret/info/refs?service=git-upload-pack', {}],
    ['GET', '/alice/Open/info/refs?service=git-receive-pack', {}],
    ['POST', '/alice/secret/git-upload-pack', { 'content-type': 'application/x-git-upload-pack-request' }, '0000'],
    ['POST', '/alice/Open/git-receive-pack', { 'content-type': 'application/x-git-receive-pack-request' }, '0000'],
    ['POST', '/alice/secret.git/info/lfs/objects/batch', { 'content-type': 'application/vnd.git-lfs+json' }, '{"operation":"download","objects":[]}'],
    ['GET', '/alice/secret/resolve/main/.gitattributes', {}],
    ['GET', '/alice/secret/raw/main/.gitattributes', {}],
    ['POST', '/api/repos/create', json, '{"name":"x"}'],
    ['DELETE', '/api/repos/delete', json, '{"name":"Open","organization":"Alice"}'],
    ['POST', '/api/cairn/users', json, '{"name":"x"}'],
  ]
  for (const [method, path, headers, body] of elsewhere) {
    const without = await status(method, path, headers, body)
    t.ok([401, 404].includes(without), `${method} ${path}: ${without}`)
    t.equal(await status(method, path, { ...headers, cookie }, body), without, `${method} ${path} with the cookie`)
  }
  const basic = `Basic ${Buffer.from(`x:${owner.token}`).toString('base64')}`
  t.equal(await status('GET', '/alice/secret/upload', { authorization: basic }), 404)
  t.equal(await status('GET', '/alice/Open/upload', { authorization: basic }), 303)
  t.equal(
    await status('GET', '/alice/secret/upload', { authorization: 'Bearer nonsense', cookie }),
    200,
    'what a browser holds for git is not looked at',
  )
})

t.test('a session ends by signing out, in time, and with its token', async (t) => {
  const expired = await signedIn(owner.token)
  await domain.db.execute(
    sql`UPDATE sessions SET expires_at = now() - interval '1 second' WHERE hash = sha256(${Buffer.from(expired.cookies.get('cairn-session')!)})`,
  )
  t.equal((await expired.get('/alice/secret/upload')).status, 404)

  const leaving = await signedIn(owner.token)
  const page = await leaving.get('/alice/secret/upload')
  const cookie = leaving.cookies.get('cairn-session')!
  t.equal((await leaving.post('/sign-out', {})).status, 403, 'not without the form’s token')
  t.equal((await leaving.post('/sign-out', { csrf: formToken(page.text) }, { origin: 'https://evil.example' })).status, 403)
  t.equal((await leaving.get('/alice/secret/upload')).status, 200)
  const out = await leaving.post('/sign-out', { csrf: formToken(page.text) })
  t.equal(out.status, 303)
  t.notOk(leaving.cookies.has('cairn-session'))
  leaving.cookies.set('cairn-session', cookie)
  t.equal((await leaving.get('/alice/secret/upload')).status, 404, 'the old cookie is worth nothing')
  t.equal((await leaving.post('/sign-out', {})).status, 303, 'signing out twice is no error')

  const fired = await pages.addUser('Eve')
  await pages.addRepo('Eve', 'own', { visibility: 'private' })
  const browser = await signedIn(fired.token)
  t.equal((await browser.get('/eve/own/upload')).status, 200)
  const { actor } = await domain.versions.current({ tokenHash: hashToken(fired.token) })
  await domain.versions.changing({ actorId: fired.id }, () => domain.db.transaction(async (tx) => void (await revokeToken(tx, actor!.token.id))))
  t.equal((await browser.get('/eve/own/upload')).status, 404)
  t.match((await browser.get('/sign-in')).text, 'Not signed in')
})

t.test('signing in asks for the form, and gives a new session each time', async (t) => {
  const browser = new Browser(url)
  const { text } = await browser.get('/sign-in')
  const csrf = lastFormToken(text)
  t.match((await browser.post('/sign-in', { csrf, token: 'hf_wrong' })).text, 'That is no token of this hub')
  t.equal((await browser.post('/sign-in', { csrf, token: 'hf_wrong' })).status, 403)
  t.notOk(browser.cookies.has('cairn-session'))
  for (const [fields, headers] of [
    [{ token: owner.token }, {}],
    [{ token: owner.token, csrf: '' }, {}],
    [{ token: owner.token, csrf: `${csrf}x` }, {}],
    [{ token: owner.token, csrf: lastFormToken((await new Browser(url).get('/sign-in')).text) }, {}],
    [{ token: owner.token, csrf: formToken((await browsers['owner']!.get('/alice/open/upload')).text) }, {}],
    [{ token: owner.token, csrf }, { origin: 'https://evil.example' }],
    [{ token: owner.token, csrf }, { origin: 'null' }],
    [{ token: owner.token, csrf }, { 'sec-fetch-site': 'cross-site' }],
    [{ token: owner.token, csrf }, { 'sec-fetch-site': 'same-site' }],
  ] as [Record<string, string>, Record<string, string>][]) {
    t.equal((await browser.post('/sign-in', fields, headers)).status, 403, JSON.stringify([fields, headers]))
    t.notOk(browser.cookies.has('cairn-session'))
  }
  const bare = new Browser(url)
  t.equal((await bare.post('/sign-in', { csrf, token: owner.token })).status, 403, 'without the cookie the form came with')

  t.equal((await browser.post('/sign-in', { csrf, token: owner.token })).status, 303)
  const first = browser.cookies.get('cairn-session')!
  t.equal((await browser.signIn(stranger.token)).status, 303)
  const second = browser.cookies.get('cairn-session')!
  t.not(second, first)
  t.match((await browser.get('/sign-in')).text, 'You are signed in as <bdi>bob</bdi>')
  browser.cookies.set('cairn-session', first)
  t.match((await browser.get('/sign-in')).text, 'Not signed in', 'the session before has ended')
})

t.test('a form of another session, without its token or from another site is not taken, and leaves nothing', async (t) => {
  const page = '/alice/open/upload'
  const files = [{ name: 'x.txt', content: 'x' }]
  const before = await domain.repos.repoInfo((await domain.versions.current({ repo: { type: 'model', namespace: 'Alice', name: 'Open' } })).repo!)
  const other = await signedIn(owner.token)
  const foreign = formToken((await other.get(page)).text)
  const own = formToken((await browsers['owner']!.get(page)).text)
  const cases: readonly (readonly [string, Record<string, string>, Record<string, string>])[] = [
    ['the same person’s other session', { csrf: foreign }, {}],
    ['no token', { csrf: '' }, {}],
    ['a wrong token', { csrf: `${own.slice(0, -2)}xx` }, {}],
    ['another origin', {}, { origin: 'https://evil.example' }],
    ['no origin to speak of', {}, { origin: 'null' }],
    ['another site', {}, { 'sec-fetch-site': 'cross-site' }],
    ['a sister site', {}, { 'sec-fetch-site': 'same-site' }],
  ]
  for (const [label, fields, headers] of cases) {
    const answer = await browsers['owner']!.upload(page, files, fields, headers)
    t.equal(answer.status, 403, label)
    t.equal(complaintOf(answer.text), '')
  }
  const after = await domain.repos.repoInfo((await domain.versions.current({ repo: { type: 'model', namespace: 'Alice', name: 'Open' } })).repo!)
  t.equal(after.sha, before.sha)
  t.equal((await browsers['owner']!.upload(page, files)).status, 303, 'and what is in order is taken')
})

t.test('every page is locked down', async (t) => {
  const answers = [
    await browsers['owner']!.get('/alice/open/upload'),
    await browsers['owner']!.get('/sign-in'),
    await browsers['anonymous']!.get('/alice/open/upload'),
    await browsers['anonymous']!.get('/alice/secret/upload'),
    await browsers['owner']!.multipart('/alice/open/upload', [], {}),
  ]
  for (const { headers, text } of answers) {
    t.equal(
      headers.get('content-security-policy'),
      "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    )
    t.equal(headers.get('x-frame-options'), 'DENY')
    t.equal(headers.get('x-content-type-options'), 'nosniff')
    t.equal(headers.get('referrer-policy'), 'same-origin')
    t.equal(headers.get('cache-control'), 'no-store')
    t.notMatch(text, /<script|javascript:|style=| on[a-z]+=/i)
  }
  const sheet = /href="(\/assets\/[^"]+)"/.exec(answers[0]!.text)![1]!
  const css = await fetch(url + sheet)
  t.equal(css.status, 200)
  t.equal(css.headers.get('content-type'), 'text/css; charset=utf-8')
  t.match(css.headers.get('cache-control'), 'immutable')
  t.match(await css.text(), 'prefers-color-scheme: dark')
})

t.test('below a public address with a path, and with https, cookies and links are right', async (t) => {
  const below = await openPages(t, { publicUrl: 'https://example.com/hub' })
  const user = await below.addUser('Zoe')
  await below.addRepo('Zoe', 'm')
  const asked = await fetch(`${below.url}/hub/zoe/m/upload`, { redirect: 'manual' })
  t.equal(asked.headers.get('location'), '/hub/sign-in?next=%2Fzoe%2Fm%2Fupload')
  const form = await fetch(`${below.url}${asked.headers.get('location')!}`)
  const cookie = form.headers.getSetCookie()[0]!
  t.match(cookie, /^__Secure-cairn-sign-in=[^;]{43}; Max-Age=3600; Path=\/hub; HttpOnly; SameSite=Lax; Secure$/)
  const text = await form.text()
  t.match(text, 'action="/hub/sign-in"')
  const done = await fetch(`${below.url}/hub/sign-in`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: cookie.split(';')[0]!, origin: 'https://example.com' },
    body: new URLSearchParams({ csrf: lastFormToken(text), token: user.token, next: valueOf(text, 'next') }),
  })
  t.equal(done.status, 303)
  t.equal(done.headers.get('location'), '/hub/zoe/m/upload')
  const session = done.headers.getSetCookie()[0]!
  t.match(session, /^__Secure-cairn-session=[^;]{43}; Max-Age=43200; Path=\/hub; HttpOnly; SameSite=Lax; Secure$/)
  const upload = await fetch(`${below.url}/hub/zoe/m/upload`, { headers: { cookie: session.split(';')[0]! } })
  t.match(await upload.text(), 'action="/hub/Zoe/m/upload"')
  t.equal(
    (await fetch(`${below.url}/hub/zoe/m/upload`, { redirect: 'manual', headers: { cookie: session.split(';')[0]!.replace('__Secure-', '') } }))
      .status,
    303,
  )
})

t.test('a host that is not ours gets no page', async (t) => {
  const status = await new Promise<number | undefined>((resolve, reject) => {
    httpRequest(`${url}/sign-in`, { headers: { host: 'evil.example' } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  t.equal(status, 421)
})
