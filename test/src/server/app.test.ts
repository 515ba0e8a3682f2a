import type { InjectOptions } from 'fastify'
import t from 'tap'
import { createPeopledHub } from '../../support/memory-hub.js'

const basic = (token: string): string => `Basic ${Buffer.from(`anyone:${token}`).toString('base64')}`

type Caller = 'anonymous' | 'wrong' | 'fine' | 'stranger' | 'ownerReads' | 'owner' | 'adminReads' | 'admin'
const callers: readonly Caller[] = ['anonymous', 'wrong', 'fine', 'stranger', 'ownerReads', 'owner', 'adminReads', 'admin']

const authorizationOf = (caller: Caller): Record<string, string> => {
  if (caller === 'anonymous') return {}
  return { authorization: caller === 'wrong' ? 'Bearer hf_nobodysToken' : basic(`hf_${caller}`) }
}

const shared = createPeopledHub()
t.teardown(() => shared.app.close())

/** Who changes something gets a hub of his own. */
async function statuses(request: InjectOptions & { readonly url: string }): Promise<string> {
  const changes = request.url.startsWith('/api/') && request.method !== undefined
  const seen: number[] = []
  for (const caller of callers) {
    const { app } = changes ? createPeopledHub() : shared
    const { statusCode } = await app.inject({ ...request, headers: { ...(request.headers as Record<string, string>), ...authorizationOf(caller) } })
    seen.push(statusCode)
  }
  return seen.join(' ')
}

const upload = { method: 'POST', payload: '0000', headers: { 'content-type': 'application/x-git-upload-pack-request' } } as const
const receive = { method: 'POST', payload: '0000', headers: { 'content-type': 'application/x-git-receive-pack-request' } } as const

/*                                                        anonymous wrong fine stranger ownerReads owner adminReads admin */
const reads = {
  Open: '200 401 200 200 200 200 200 200',
  secret: '401 401 404 404 200 200 200 200',
  absent: '401 401 404 404 404 404 404 404',
  gated: '401 401 403 403 200 200 200 200',
  off: '403 401 403 403 403 403 200 200',
}
const writes = {
  Open: '401 401 403 403 403 200 403 200',
  secret: '401 401 404 404 403 200 403 200',
  absent: '401 401 404 404 404 404 404 404',
  gated: '401 401 403 403 403 200 403 200',
  off: '403 401 403 403 403 403 403 200',
}
const post = { method: 'POST', headers: { 'content-type': 'application/vnd.git-lfs+json' } } as const
/** Whoever asks: without a link nobody gets bytes, and nobody is told what there is. */
const noLink = Object.fromEntries(Object.keys(reads).map((name) => [name, '403 401 403 403 403 403 403 403']))
const answering = (table: Record<string, string>, status: string) =>
  Object.fromEntries(Object.entries(table).map(([name, row]) => [name, row.replaceAll('200', status)]))
const batch = (operation: string) => JSON.stringify({ operation, objects: [{ oid: 'a'.repeat(64), size: 1 }] })

t.test('every route about a repository decides the same way, for every caller and kind of repository', async (t) => {
  const routes: readonly [
    name: string,
    request: (base: string, name: string) => InjectOptions & { readonly url: string },
    expected: Record<string, string>,
  ][] = [
    ['fetch: info/refs', (base, name) => ({ url: `${base}/alice/${name}/info/refs?service=git-upload-pack` }), reads],
    ['fetch: info/refs with .git', (base, name) => ({ url: `${base}/alice/${name}.git/info/refs?service=git-upload-pack&x=1` }), reads],
    ['push: info/refs', (base, name) => ({ url: `${base}/alice/${name}/info/refs?service=git-receive-pack` }), writes],
    ['fetch: upload-pack', (base, name) => ({ ...upload, url: `${base}/alice/${name}/git-upload-pack` }), reads],
    ['push: receive-pack', (base, name) => ({ ...receive, url: `${base}/alice/${name}.git/git-receive-pack` }), writes],
    ['lfs: download', (base, name) => ({ ...post, url: `${base}/alice/${name}.git/info/lfs/objects/batch`, payload: batch('download') }), reads],
    ['lfs: upload', (base, name) => ({ ...post, url: `${base}/alice/${name}/info/lfs/objects/batch`, payload: batch('upload') }), writes],
    ['lfs: locks without .git', (base, name) => ({ url: `${base}/alice/${name}/info/lfs/locks` }), reads],
    [
      'lfs: a lock',
      (base, name) => ({ ...post, url: `${base}/alice/${name}.git/info/lfs/locks`, payload: '{"path":"a"}' }),
      answering(writes, '201'),
    ],
    ['lfs: locks before a push', (base, name) => ({ ...post, url: `${base}/alice/${name}.git/info/lfs/locks/verify`, payload: '{}' }), writes],
    ['lfs: unlock', (base, name) => ({ ...post, url: `${base}/alice/${name}/info/lfs/locks/x/unlock`, payload: '{}' }), answering(writes, '404')],
    ['lfs: bytes without a link', (base, name) => ({ url: `${base}/alice/${name}.git/info/lfs/objects/${'a'.repeat(64)}` }), noLink],
    ['lfs: somewhere else', (base, name) => ({ url: `${base}/alice/${name}/info/lfs/elsewhere` }), answering(reads, '404')],
  ]
  for (const [label, request, expected] of routes) {
    for (const base of ['', '/datasets', '/spaces']) {
      for (const [name, row] of Object.entries(expected)) t.equal(await statuses(request(base, name)), row, `${label} of ${base}/alice/${name}`)
    }
  }
  for (const plural of ['models', 'datasets', 'spaces']) {
    for (const [name, row] of Object.entries(reads)) {
      t.equal(await statuses({ url: `/api/${plural}/alice/${name}` }), row, `info of ${plural}/${name}`)
      t.equal(await statuses({ url: `/api/${plural}/alice/${name}/revision/refs%2Fpr%2F1` }), row, `info at a revision of ${plural}/${name}`)
    }
  }
  for (const [name, row] of Object.entries({ ...writes, off: '401 401 403 403 403 200 403 200' })) {
    t.equal(
      await statuses({ method: 'DELETE', url: '/api/repos/delete', payload: { name, organization: 'alice', type: 'dataset' } }),
      row,
      `delete ${name}`,
    )
  }
})

t.test('routes about namespaces and the hub', async (t) => {
  const table: readonly [label: string, request: InjectOptions & { readonly url: string }, row: string][] = [
    ['whoami', { url: '/api/whoami-v2' }, '401 401 200 200 200 200 200 200'],
    ['create in the own namespace', { method: 'POST', url: '/api/repos/create', payload: { name: 'new' } }, '401 401 403 200 403 200 403 200'],
    [
      'create in the namespace of alice',
      { method: 'POST', url: '/api/repos/create', payload: { name: 'new', organization: 'alice' } },
      '401 401 403 403 403 200 403 200',
    ],
    [
      'create where nobody is',
      { method: 'POST', url: '/api/repos/create', payload: { name: 'new', organization: 'nobody' } },
      '401 401 403 403 403 403 403 403',
    ],
    ['create empty', { method: 'POST', url: '/api/cairn/repos', payload: { id: 'alice/new', empty: true } }, '401 401 403 403 403 200 403 200'],
    ['create a user', { method: 'POST', url: '/api/cairn/users', payload: { name: 'carol' } }, '401 401 403 403 403 403 403 200'],
    [
      'create a token for alice',
      { method: 'POST', url: '/api/cairn/users/alice/tokens', payload: { role: 'read' } },
      '401 401 403 403 403 200 403 200',
    ],
    ['create a token for nobody', { method: 'POST', url: '/api/cairn/users/nobody/tokens' }, '401 401 403 403 403 403 403 404'],
    ['collect garbage', { method: 'POST', url: '/api/cairn/gc', payload: {} }, '401 401 403 403 403 403 403 200'],
    ['health', { url: '/healthz' }, '200 200 200 200 200 200 200 200'],
    ['ready', { url: '/readyz' }, '200 200 200 200 200 200 200 200'],
    ['metrics, from this machine', { url: '/metrics' }, '200 200 200 200 200 200 200 200'],
    ['metrics, from elsewhere', { url: '/metrics', remoteAddress: '192.0.2.7' }, '404 404 404 404 404 404 404 404'],
    ['nothing', { url: '/api/nothing' }, '404 404 404 404 404 404 404 404'],
  ]
  for (const [label, request, row] of table) t.equal(await statuses(request), row, label)
})

/*                                                                  anonymous wrong fine stranger ownerReads owner adminReads admin */
const duplicates = {
  'bob/new': {
    Open: '401 401 403 200 403 403 403 200',
    secret: '401 401 404 404 403 403 403 200',
    absent: '401 401 404 404 404 404 404 404',
    gated: '401 401 403 403 403 403 403 200',
    off: '401 401 403 403 403 403 403 200',
  },
  'alice/new': {
    Open: '401 401 403 403 403 200 403 200',
    secret: '401 401 404 404 403 200 403 200',
    absent: '401 401 404 404 404 404 404 404',
    gated: '401 401 403 403 403 200 403 200',
    off: '401 401 403 403 403 403 403 200',
  },
  'alice/open': {
    Open: '401 401 403 403 403 409 403 409',
    secret: '401 401 404 404 403 409 403 409',
  },
  'nobody/new': {
    Open: '401 401 403 403 403 403 403 403',
    secret: '401 401 404 404 403 403 403 403',
  },
}

t.test('a copy is for who may read the one and make the other', async (t) => {
  for (const [i, [repository, expected]] of Object.entries(duplicates).entries())
    for (const [name, row] of Object.entries(expected)) {
      const url = `/api/${['models', 'datasets', 'spaces'][i % 3]}/alice/${name}/duplicate`
      t.equal(await statuses({ method: 'POST', url, payload: { repository } }), row, `${url} as ${repository}`)
    }
})

t.test('what a copy is called, and who sees it', async (t) => {
  const { app, repos } = createPeopledHub()
  const post = async (url: string, payload: object, token = 'hf_owner') => {
    const { statusCode, body } = await app.inject({ method: 'POST', url, payload, headers: { authorization: `Bearer ${token}`, host: 'localhost' } })
    return { statusCode, ...JSON.parse(body) }
  }
  const made = (name: string) => repos.find((repo) => repo.name === name)
  const from = (name: string) => `/api/datasets/alice/${name}/duplicate`
  t.same(await post(from('open'), { repository: 'alice/a' }), { statusCode: 200, url: 'http://localhost/datasets/Alice/a' })
  t.match(made('a'), { type: 'dataset', visibility: 'public', gated: null })
  t.equal((await post(from('secret'), { repository: 'b', resourceGroupId: null, hardware: 'cpu-basic' })).url, 'http://localhost/datasets/Alice/b')
  t.match(made('b'), { visibility: 'private' }, 'as the one it is a copy of')
  await post(from('open'), { repository: 'c', private: true })
  await post(from('secret'), { repository: 'd', visibility: 'public' })
  await post(from('secret'), { repository: 'e', private: false })
  await post(from('gated'), { repository: 'f' })
  t.same([made('c')?.visibility, made('d')?.visibility, made('e')?.visibility, made('f')?.gated], ['private', 'public', 'public', 'manual'])
  t.same(await post(from('open'), { repository: 'alice/SECRET' }), {
    statusCode: 409,
    error: 'You already created this dataset repo',
    url: 'http://localhost/datasets/Alice/SECRET',
  })
  for (const wrong of [{}, { repository: 7 }, { repository: 'alice/' }, { repository: 'alice/x/y' }, { repository: 'g', visibility: 'protected' }])
    t.equal((await post(from('open'), wrong)).statusCode, 400, JSON.stringify(wrong))
  t.match(await post('/api/models/alice/absent/duplicate', { repository: 'h' }), { statusCode: 404, error: 'Repository not found' })
})

t.test('what is private and what is absent are refused in the same words', async (t) => {
  const { app } = createPeopledHub()
  for (const headers of [{}, { authorization: 'Bearer hf_stranger' }]) {
    for (const path of [
      '/NAME/info/refs?service=git-upload-pack',
      '/datasets/NAME/info/refs?service=git-receive-pack',
      '/NAME.git/info/lfs/locks',
      '/api/models/NAME',
    ]) {
      const [there, absent, reserved] = await Promise.all(
        ['alice/secret', 'alice/absent', 'settings/x'].map(async (name) => {
          const { statusCode, headers: answered, body } = await app.inject({ url: path.replace('NAME', name), headers })
          const { 'x-request-id': _, date: _date, ...rest } = answered
          return { statusCode, headers: rest, body: body.replace(/"request_id":"[^"]*"/, '') }
        }),
      )
      t.same(there, absent, path)
      t.same(reserved, absent, path)
    }
  }
})

t.test('refusals carry what clients look for', async (t) => {
  const { app } = createPeopledHub()
  const pick = async (request: InjectOptions) => {
    const { statusCode, headers, body } = await app.inject(request)
    const { 'x-error-code': code, 'x-error-message': message, 'www-authenticate': challenge, 'content-type': type, 'lfs-authenticate': lfs } = headers
    return { statusCode, code, message, challenge, type, body, ...(lfs === undefined ? {} : { lfs }) }
  }
  const json = 'application/json; charset=utf-8'
  const as = (token: string) => ({ authorization: `Bearer ${token}` })
  t.same(await pick({ url: '/api/models/alice/secret' }), {
    statusCode: 401,
    code: 'RepoNotFound',
    message: 'Invalid username or password.',
    challenge: 'Basic realm="Cairn"',
    type: json,
    body: '{"error":"Invalid username or password."}',
  })
  t.same(await pick({ url: '/api/models/alice/secret', headers: as('hf_stranger') }), {
    statusCode: 404,
    code: 'RepoNotFound',
    message: 'Repository not found',
    challenge: undefined,
    type: json,
    body: '{"error":"Repository not found"}',
  })
  t.same(await pick({ url: '/api/models/alice/open', headers: as('hf_wrong') }), {
    statusCode: 401,
    code: undefined,
    message: 'Invalid credentials in Authorization header',
    challenge: 'Basic realm="Cairn"',
    type: json,
    body: '{"error":"Invalid credentials in Authorization header"}',
  })
  t.same(await pick({ url: '/api/models/alice/open/revision/no%2Fsuch' }), {
    statusCode: 404,
    code: 'RevisionNotFound',
    message: 'Invalid rev id: no/such',
    challenge: undefined,
    type: json,
    body: '{"error":"Invalid rev id: no/such"}',
  })
  t.equal((await pick({ url: '/api/models/alice/gated', headers: as('hf_stranger') })).code, 'GatedRepo')
  t.equal((await pick({ url: '/api/models/alice/off', headers: as('hf_stranger') })).message, 'Access to this resource is disabled.')
  t.same(await pick({ url: '/alice/secret/info/refs?service=git-upload-pack' }), {
    statusCode: 401,
    code: 'RepoNotFound',
    message: 'Invalid username or password.',
    challenge: 'Basic realm="Cairn"',
    type: 'text/plain; charset=utf-8',
    body: 'Invalid username or password.\n',
  })
  t.match(await pick({ url: '/alice/secret.git/info/lfs/locks' }), {
    statusCode: 401,
    lfs: 'Basic realm="Cairn"',
    type: 'application/vnd.git-lfs+json',
  })
  const lfs = await pick({
    method: 'POST',
    url: '/spaces/alice/open/info/lfs/objects/batch',
    payload: '{}',
    headers: { 'content-type': 'application/vnd.git-lfs+json' },
  })
  t.match(lfs, { statusCode: 400, type: 'application/vnd.git-lfs+json' })
  t.equal(JSON.parse(lfs.body).message, "operation must be 'download' or 'upload'")
  t.match(await pick({ method: 'DELETE', url: '/api/repos/delete', payload: { name: 'x' }, headers: as('hf_owner') }), {
    statusCode: 404,
    code: 'RepoNotFound',
  })
  t.match(await pick({ method: 'DELETE', url: '/api/repos/delete', payload: { name: 'alice/open/more' }, headers: as('hf_owner') }), {
    statusCode: 404,
  })
  t.match(await pick({ url: '/alice/open/info/refs?service=git-receive-pack', headers: as('hf_ownerReads') }), {
    statusCode: 403,
    body: "this token may not do that (content.write): use one with the role 'write'\n",
  })
})

t.test('no credentials but good ones count as signed in', async (t) => {
  const { app } = createPeopledHub()
  const status = async (authorization: string) => (await app.inject({ url: '/api/whoami-v2', headers: { authorization } })).statusCode
  t.equal(await status('Bearer hf_owner'), 200)
  t.equal(await status('bearer  hf_owner '), 200)
  t.equal(await status(basic('hf_owner')), 200)
  for (const wrong of [
    '',
    'Bearer',
    'Bearer ',
    'hf_owner',
    'Digest hf_owner',
    'Basic !!!',
    `Basic ${Buffer.from('hf_owner').toString('base64')}`,
    basic(''),
    `Bearer ${'x'.repeat(600)}`,
  ]) {
    t.equal(await status(wrong), 401, JSON.stringify(wrong))
  }
})

t.test('git addresses that are none', async (t) => {
  const { app } = createPeopledHub()
  const get = async (url: string) => {
    const { statusCode, headers, body } = await app.inject({ url })
    return { statusCode, type: headers['content-type'], cache: headers['cache-control'], body }
  }
  const text = 'text/plain; charset=utf-8'
  const cache = 'no-cache, max-age=0, must-revalidate'
  const dumb = 'this hub speaks the smart protocol only: use git 1.6.6 or newer\n'
  for (const name of ['open', 'secret', 'absent']) {
    t.same(await get(`/alice/${name}/info/refs`), { statusCode: 404, type: text, cache, body: dumb })
    t.same(await get(`/alice/${name}/info/refs?service=git-foo`), { statusCode: 403, type: text, cache, body: 'unknown git service: git-foo\n' })
  }
  t.equal((await get('/alice/secret/info/refs?service=git-upload-pack&service=git-upload-pack')).statusCode, 403)
  t.same(await get('/alice/open/HEAD'), { statusCode: 404, type: text, cache, body: dumb })
  t.same(await get('/datasets/alice/open.git/objects/info/packs'), { statusCode: 404, type: text, cache, body: dumb })
  t.equal((await app.inject({ ...upload, url: '/alice/open/git-upload-pack', headers: { 'content-type': 'application/json' } })).statusCode, 415)
  t.equal((await app.inject({ method: 'POST', url: '/alice/open/git-upload-pack' })).statusCode, 415)
})

t.test('an advertisement has the right type, protocol and headers', async (t) => {
  const { app } = createPeopledHub()
  const get = (service: string, protocol?: string) =>
    app.inject({
      url: `/alice/Open/info/refs?service=${service}`,
      headers: { authorization: basic('hf_owner'), ...(protocol === undefined ? {} : { 'git-protocol': protocol }) },
    })
  const v0 = await get('git-upload-pack')
  t.equal(v0.headers['content-type'], 'application/x-git-upload-pack-advertisement')
  t.equal(v0.headers['cache-control'], 'no-cache, max-age=0, must-revalidate')
  t.equal(v0.headers['expires'], 'Fri, 01 Jan 1980 00:00:00 GMT')
  t.ok(v0.headers['x-request-id'])
  t.ok(v0.body.startsWith('001e# service=git-upload-pack\n0000'))
  t.ok((await get('git-upload-pack', 'foo:version=1:version=2')).body.startsWith('000eversion 2\n'))
  t.match((await get('git-upload-pack', 'version=1')).body, /000eversion 1\n/)
  t.ok((await get('git-upload-pack', 'version=3')).body.startsWith('001e# service=git-upload-pack\n0000'))
  const push = await get('git-receive-pack', 'version=2')
  t.equal(push.headers['content-type'], 'application/x-git-receive-pack-advertisement')
  t.ok(push.body.startsWith('001f# service=git-receive-pack\n0000'))
})

t.test('the probe before a chunked body is answered, and what is wrong with a request is said in pkt-lines', async (t) => {
  const { app } = createPeopledHub()
  const probe = await app.inject({
    ...receive,
    url: '/alice/open/git-receive-pack',
    headers: { ...receive.headers, authorization: basic('hf_owner') },
  })
  t.match(probe, { statusCode: 200, body: '0000', headers: { 'content-type': 'application/x-git-receive-pack-result' } })
  const post = (payload: string | Buffer, headers: Record<string, string> = {}) =>
    app.inject({ method: 'POST', url: '/alice/open/git-upload-pack', payload, headers: { ...upload.headers, ...headers } })
  t.match(await post('0032want 1111111111111111111111111111111111111111\n00000009done\n'), {
    statusCode: 200,
    body: /^[0-9a-f]{4}ERR .*not our ref 1{40}/,
  })
  t.match(await post('this is no pkt-line'), { statusCode: 200, body: /^[0-9a-f]{4}ERR / })
  t.equal((await post('not gzip', { 'content-encoding': 'gzip' })).statusCode, 400)
  t.equal((await post('x', { 'content-encoding': 'br' })).statusCode, 415)
})

t.test('whoami, create and info answer in the shapes clients read', async (t) => {
  const { app } = createPeopledHub()
  const headers = { authorization: 'Bearer hf_owner' }
  t.same((await app.inject({ url: '/api/whoami-v2', headers })).json(), {
    type: 'user',
    id: '000000000000000000000002',
    name: 'Alice',
    fullname: 'Alice',
    email: null,
    emailVerified: false,
    canPay: false,
    isPro: false,
    periodEnd: null,
    avatarUrl: '',
    orgs: [],
    auth: { type: 'access_token', accessToken: { displayName: 'laptop', role: 'write', createdAt: '2026-01-02T03:04:05.678Z' } },
  })
  const create = (payload: object) =>
    app.inject({ method: 'POST', url: '/api/repos/create', headers: { ...headers, host: '127.0.0.1:8080' }, payload })
  t.same((await create({ name: 'tiny', organization: null, type: 'dataset', private: true })).json(), {
    url: 'http://127.0.0.1:8080/datasets/Alice/tiny',
    name: 'Alice/tiny',
    id: '00000000000000000000000d',
  })
  t.match(await create({ name: 'TINY', type: 'dataset' }).then((answer) => ({ ...answer.json(), status: answer.statusCode })), {
    status: 409,
    error: 'You already created this dataset repo',
    url: 'http://127.0.0.1:8080/datasets/Alice/TINY',
  })
  t.equal((await create({ name: 'alice/by-id' })).json().url, 'http://127.0.0.1:8080/Alice/by-id')
  t.equal((await create({ name: 'space', type: 'space' })).statusCode, 200, 'a space without sdk')
  for (const wrong of [
    {},
    { name: '' },
    { name: 'a--b' },
    { name: 'x.git' },
    { name: '.x' },
    { name: 'a/b/c', organization: null },
    { name: 'x', type: 'kernel' },
    { name: 'x', visibility: 'protected' },
    { name: 'x', files: [{ path: 'a', content: '%' }] },
  ]) {
    const { statusCode, headers: answered } = await create(wrong)
    t.ok(
      statusCode === 400 || (statusCode === 403 && 'organization' in wrong),
      `${JSON.stringify(wrong)}: ${statusCode} ${String(answered['x-error-message'])}`,
    )
  }

  const info = await app.inject({ url: '/api/datasets/ALICE/TINY?blobs=True', headers })
  t.same(info.json(), {
    _id: '00000000000000000000000d',
    id: 'Alice/tiny',
    author: 'Alice',
    sha: null,
    lastModified: '2026-01-02T03:04:05.678Z',
    createdAt: '2026-01-02T03:04:05.678Z',
    private: true,
    gated: false,
    downloads: 0,
    disabled: false,
    likes: 0,
    tags: [],
    usedStorage: 0,
    siblings: [],
  })
  t.same((await app.inject({ url: '/api/datasets/alice/tiny?expand=sha&expand[]=likes,private', headers })).json(), {
    _id: '00000000000000000000000d',
    id: 'Alice/tiny',
    sha: null,
    likes: 0,
    private: true,
  })
  const unknown = await app.inject({ url: '/api/spaces/alice/open?expand=foo' })
  t.equal(unknown.statusCode, 400)
  t.equal(
    unknown.json().error,
    '"expand" must be one of [author, cardData, createdAt, datasets, disabled, gitalyUid, lastModified, likes, models, private, ' +
      'region, resourceGroup, runtime, sdk, sha, siblings, subdomain, tags, trendingScore, usedStorage, xetEnabled]',
  )
  t.equal((await app.inject({ url: '/api/models/alice/open/revision/refs/pr/1' })).statusCode, 200, 'a revision with bare slashes')
})

t.test('users and tokens are made for admins, and a token for whom it is for', async (t) => {
  const { app } = createPeopledHub()
  const post = (url: string, payload: object | string | undefined, token = 'hf_admin') =>
    app.inject({
      method: 'POST',
      url,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(payload === undefined ? {} : { payload }),
    })
  t.same((await post('/api/cairn/users', { name: 'carol', admin: true })).json(), { id: '000000000000000000000004', name: 'carol', admin: true })
  t.equal((await post('/api/cairn/users', { name: 'CAROL' })).statusCode, 409)
  t.equal((await post('/api/cairn/users', { name: 'x', root: true })).statusCode, 400)
  const made = await post('/api/cairn/users/carol/tokens', undefined)
  t.match(made.json().token, /^hf_/)
  t.equal(made.headers['cache-control'], 'no-store')
  t.equal((await post('/api/cairn/users/carol/tokens', { role: 'god' })).statusCode, 400)
})

t.test('every answer can be found again, and knows its host', async (t) => {
  const { app } = createPeopledHub()
  const get = (headers: Record<string, string>, url = '/api/models/alice/open') => app.inject({ url, headers })
  t.match((await get({ 'x-amzn-trace-id': 'Root=1-abc' })).headers['x-request-id'], /^Root=[0-9a-f-]{36};Root=1-abc$/)
  t.equal((await get({ 'x-request-id': 'my own', 'x-amzn-trace-id': 'other' })).headers['x-request-id'], 'my own')
  t.match((await get({ 'x-request-id': 'bad\u0001one' })).headers['x-request-id'], /^Root=/)
  t.match((await get({})).headers['access-control-expose-headers'], /^X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,/)
  t.equal((await get({ host: 'evil.example' })).statusCode, 421)
  t.equal((await get({ host: 'evil.example' }, '/healthz')).statusCode, 200, 'probes name no host')
  t.equal((await get({ host: '[::1]:8080' })).statusCode, 200)
  t.equal((await get({}, '//api/models/alice/open')).statusCode, 200, 'two slashes in front')
  t.equal((await get({}, `/api/models/alice/open/revision/${'x'.repeat(3000)}`)).statusCode, 404, 'a long parameter')
  t.equal((await get({}, '/api/models/%E0%A4%A/x')).statusCode, 400, 'an address that is no UTF-8')
})

t.test('with a public address every link uses it, and its path stands in front of every route', async (t) => {
  const { app } = createPeopledHub({ publicUrl: 'https://hub.example/ml/' })
  for (const prefix of ['', '/ml']) {
    const { statusCode, body } = await app.inject({
      method: 'POST',
      url: `${prefix}/api/repos/create`,
      headers: { authorization: 'Bearer hf_owner', host: 'whatever' },
      payload: { name: `x${prefix.length}` },
    })
    t.equal(statusCode, 200)
    t.equal(JSON.parse(body).url, `https://hub.example/ml/Alice/x${prefix.length}`)
    t.equal((await app.inject({ url: `${prefix}/alice/open/info/refs?service=git-upload-pack` })).statusCode, 200)
  }
  t.equal((await app.inject({ url: '/mlx/api/whoami-v2' })).statusCode, 404)
})
