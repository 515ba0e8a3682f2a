import t from 'tap'
import type { IncomingHttpHeaders } from 'node:http'
import { create, workTree } from '../../support/domain.js'
import { openFileHub, type Answer } from '../../support/file-hub.js'
import { git } from '../../support/git.js'

const hub = await openFileHub(t)
const { domain, ask } = hub
const work = await workTree(t.testdir())
const repo = await domain.makeRepo('files')
const token = { authorization: `Bearer hf_${'a'.repeat(34)}` }

const weights = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251))
const large = await hub.link(repo, weights)
const lost = await hub.link(repo, Buffer.from('the bytes of this are gone'), null)
const short = await hub.link(repo, Buffer.from('of this only a part is there'), Buffer.from('of this'))
const elsewhere = await hub.link(await domain.makeRepo('elsewhere'), Buffer.from('somebody else has this'))

const contents: Readonly<Record<string, string | Buffer>> = {
  'README.md': '# Hello\n',
  'dir/sub/deep file?#%.txt': 'deep',
  'dir/größe.txt': 'grösser',
  empty: '',
  'page.html': '<script>alert(1)</script>',
  'picture.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
  'code.js': 'alert(1)',
  'cat.png': Buffer.from('89504e470d0a1a0a', 'hex'),
  'paper.pdf': '%PDF-1.4',
  'ten.bin': '0123456789',
  'model.safetensors': large.pointer,
  'lost.bin': lost.pointer,
  'short.bin': short.pointer,
  'elsewhere.bin': elsewhere.pointer,
}
await work.commit(contents)
const link = (await git(['hash-object', '-w', '--stdin'], { cwd: work.cwd, input: Buffer.from('dir/größe.txt') })).stdout.toString().trim()
const pointerLink = (await git(['hash-object', '-w', '--stdin'], { cwd: work.cwd, input: large.pointer })).stdout.toString().trim()
await git(['update-index', '--add', '--cacheinfo', `120000,${link},link`], { cwd: work.cwd })
await git(['update-index', '--add', '--cacheinfo', `120000,${pointerLink},link.bin`], { cwd: work.cwd })
await git(['update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},module`], { cwd: work.cwd })
await git(['update-index', '--add', '--index-info'], { cwd: work.cwd, input: Buffer.from(`100644 ${link}\tbad\xff"name.bin\n`, 'latin1') })
const commit = await work.commit({})
await hub.push(repo, {
  commands: [create('refs/heads/main', commit), create('refs/heads/feature/x', commit), create('refs/tags/v1', commit)],
  pack: await work.pack(commit),
})

const blobOf = async (path: string): Promise<string> => (await git(['rev-parse', `${commit}:${path}`], { cwd: work.cwd })).stdout.toString().trim()
const varying = new Set(['date', 'connection', 'x-request-id', 'access-control-expose-headers', 'keep-alive'])
const facts = (headers: IncomingHttpHeaders): Record<string, unknown> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !varying.has(name)))
const policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
const common = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': policy,
  'cross-origin-resource-policy': 'cross-origin',
  'cache-control': 'no-cache',
  vary: 'Authorization',
  'accept-ranges': 'bytes',
  'x-repo-commit': commit,
}

t.test('headers and bytes of every kind of file', async (t) => {
  interface Kind {
    readonly path: string
    readonly type: string
    readonly name: string
    readonly body: string | Buffer
    readonly id?: string
    readonly linked?: number
    readonly save?: boolean
  }
  const text = 'text/plain; charset=utf-8'
  const bytes = 'application/octet-stream'
  const plain = (name: string): string => `filename*=UTF-8''${name}; filename="${name}"`
  const same: readonly Kind[] = [
    { path: 'README.md', type: text, name: plain('README.md'), body: '# Hello\n' },
    {
      path: 'dir/sub/deep%20file%3F%23%25.txt',
      type: text,
      name: `filename*=UTF-8''deep%20file%3F%23%25.txt; filename="deep file?#_.txt"`,
      body: 'deep',
      id: await blobOf('dir/sub/deep file?#%.txt'),
    },
    {
      path: 'dir/gr%C3%B6%C3%9Fe.txt',
      type: text,
      name: `filename*=UTF-8''gr%C3%B6%C3%9Fe.txt; filename="gr??e.txt"`,
      body: 'grösser',
      id: await blobOf('dir/größe.txt'),
    },
    { path: 'empty', type: bytes, name: plain('empty'), body: '', save: true, id: 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391' },
    { path: 'page.html', type: text, name: plain('page.html'), body: '<script>alert(1)</script>' },
    { path: 'picture.svg', type: text, name: plain('picture.svg'), body: '<svg xmlns="http://www.w3.org/2000/svg"/>' },
    { path: 'code.js', type: text, name: plain('code.js'), body: 'alert(1)' },
    { path: 'cat.png', type: 'image/png', name: plain('cat.png'), body: Buffer.from('89504e470d0a1a0a', 'hex') },
    { path: 'paper.pdf', type: 'application/pdf', name: plain('paper.pdf'), body: '%PDF-1.4', save: true },
    { path: 'ten.bin', type: bytes, name: plain('ten.bin'), body: '0123456789', save: true },
    { path: 'link', type: bytes, name: plain('link'), body: 'dir/größe.txt', save: true, id: link },
    { path: 'link.bin', type: bytes, name: plain('link.bin'), body: large.pointer, save: true, id: pointerLink },
    {
      path: 'bad%EF%BF%BD%22name.bin',
      type: bytes,
      name: `filename*=UTF-8''bad%EF%BF%BD%22name.bin; filename="bad?_name.bin"`,
      body: 'dir/größe.txt',
      save: true,
      id: link,
    },
  ]
  const model = { path: 'model.safetensors', name: plain('model.safetensors') }
  const table: readonly (Kind & { readonly verb: string })[] = [
    ...['resolve', 'raw'].flatMap((verb) => same.map((kind) => ({ verb, ...kind }))),
    { verb: 'resolve', ...model, type: bytes, body: weights, id: large.oid, linked: 300_000, save: true },
    { verb: 'raw', ...model, type: text, body: large.pointer, id: await blobOf('model.safetensors') },
  ]
  for (const { verb, path, type, name, body, id = await blobOf(path), linked, save = false } of table) {
    const expected = {
      ...common,
      etag: `"${id}"`,
      'content-type': type,
      'content-length': String(Buffer.byteLength(body)),
      'content-disposition': `${save ? 'attachment' : 'inline'}; ${name};`,
      ...(linked === undefined ? {} : { 'x-linked-etag': `"${id}"`, 'x-linked-size': String(linked) }),
    }
    const got = await ask(`/admin/files/${verb}/main/${path}`)
    t.same([got.status, facts(got.headers)], [200, expected], `GET ${verb} ${path}`)
    t.ok(got.body.equals(Buffer.from(body as string)), `bytes of ${verb} ${path}`)
    const head = await ask(`/admin/files/${verb}/main/${path}`, { method: 'HEAD' })
    t.same([head.status, facts(head.headers), head.body.length], [200, expected, 0], `HEAD ${verb} ${path}`)
    const saved = await ask(`/admin/files/${verb}/main/${path}?download=true`, { method: 'HEAD' })
    t.equal(saved.headers['content-disposition'], `attachment; ${name};`)
    const bare = await ask(`/admin/files/${verb}/main/${path}?noContentDisposition=1`, { method: 'HEAD' })
    t.same([bare.status, bare.headers['content-disposition']], [200, undefined])
  }
})

t.test('revisions in addresses, and how long an answer may be kept', async (t) => {
  const forEver = 'public, max-age=31536000, immutable'
  const table: readonly [revision: string, cacheControl: string][] = [
    ['main', 'no-cache'],
    ['HEAD', 'no-cache'],
    ['v1', 'no-cache'],
    ['refs%2Fheads%2Fmain', 'no-cache'],
    ['refs/heads/main', 'no-cache'],
    ['feature%2Fx', 'no-cache'],
    ['feature%2fx', 'no-cache'],
    ['feature/x', 'no-cache'],
    ['%6Dain', 'no-cache'],
    [commit, forEver],
    [commit.toUpperCase(), forEver],
    [commit.slice(0, 7), 'no-cache'],
    [commit.slice(0, 39), 'no-cache'],
  ]
  for (const [revision, cacheControl] of table) {
    for (const verb of ['resolve', 'raw']) {
      const { status, headers } = await ask(`/admin/files/${verb}/${revision}/dir/sub/deep%20file%3F%23%25.txt`)
      t.same([status, headers['x-repo-commit'], headers['cache-control']], [200, commit, cacheControl], `${verb} ${revision}`)
    }
  }
})

t.test('an encoded slash says where the revision ends; without one the longest name wins', async (t) => {
  const slashes = await domain.makeRepo('slashes')
  const other = await work.commit({ 'f.txt': 'in the tag', 'dir/f.txt': 'in the tag, below' })
  const first = await work.commit({ 'f.txt': 'in the branch', 'dir/f.txt': 'in the branch, below' })
  await hub.push(slashes, {
    commands: [create('refs/heads/feature/x', first), create('refs/tags/feature/x/dir', other)],
    pack: await work.pack(first),
  })
  const table: readonly [path: string, body: string][] = [
    ['feature%2Fx/f.txt', 'in the branch'],
    ['feature/x/f.txt', 'in the branch'],
    ['feature%2Fx/dir/f.txt', 'in the branch, below'],
    ['feature/x/dir/f.txt', 'in the tag'],
    ['feature%2Fx%2Fdir/f.txt', 'in the tag'],
    ['feature%2Fx%2Fdir/dir/f.txt', 'in the tag, below'],
  ]
  for (const [path, body] of table) t.equal((await ask(`/admin/slashes/resolve/${path}`)).body.toString(), body, path)
})

t.test('what is not open to all is kept by nobody in between, and by no other page', async (t) => {
  const secret = await domain.makeRepo('secret')
  await hub.push(secret, { commands: [create('refs/heads/main', commit)], pack: await work.pack(commit) })
  for (const change of ["visibility = 'private'", "visibility = 'public', gated = 'manual'", 'gated = NULL, disabled = true']) {
    await domain.versions.changing({ repoId: secret.id }, () =>
      domain.db.execute({ text: `UPDATE repositories SET ${change}, access_ver = access_ver + 1 WHERE id = $1`, values: [secret.id] }),
    )
    for (const revision of ['main', commit]) {
      const { status, headers } = await ask(`/admin/secret/resolve/${revision}/README.md`, { headers: token })
      t.same(
        [status, headers['cache-control'], headers['vary'], headers['cross-origin-resource-policy']],
        [200, 'private, no-cache', 'Authorization', 'same-origin'],
        `${change} ${revision}`,
      )
    }
  }
  const { status, headers } = await ask(`/admin/secret/resolve/${commit}/README.md`)
  t.same([status, headers['x-repo-commit'], headers['etag'], headers['cache-control']], [403, undefined, undefined, undefined])
})

t.test('ranges', async (t) => {
  const digits = '0123456789'
  const pointerText = large.pointer.toString()
  const files: readonly [path: string, content: string][] = [
    ['resolve/main/ten.bin', digits],
    ['raw/main/ten.bin', digits],
    ['raw/main/model.safetensors', pointerText],
    ['resolve/main/model.safetensors', weights.toString('latin1')],
  ]
  for (const [path, content] of files) {
    const size = content.length
    const table: readonly [range: string, from: number, to: number][] = [
      ['bytes=0-0', 0, 1],
      ['bytes=2-4', 2, 5],
      ['bytes=7-', 7, size],
      ['bytes=-3', size - 3, size],
      [`bytes=${size - 1}-`, size - 1, size],
      ['bytes=0-999999', 0, size],
      ['bytes=-999999', 0, size],
    ]
    const whole = await ask(`/admin/files/${path}`)
    for (const [range, from, to] of table) {
      const part = await ask(`/admin/files/${path}`, { headers: { range } })
      t.equal(part.status, 206, `${path} ${range}`)
      t.equal(part.body.toString('latin1'), content.slice(from, to))
      t.same(facts(part.headers), {
        ...facts(whole.headers),
        'content-length': String(to - from),
        'content-range': `bytes ${from}-${to - 1}/${size}`,
      })
      const head = await ask(`/admin/files/${path}`, { method: 'HEAD', headers: { range } })
      t.same([head.status, facts(head.headers)], [200, facts(whole.headers)], 'HEAD knows no ranges')
    }
    for (const range of [`bytes=${size}-`, 'bytes=999999-', 'bytes=-0', 'bytes=0-0,2-3', 'bytes=999999-,1-1']) {
      const refused = await ask(`/admin/files/${path}`, { headers: { range } })
      t.same(
        [
          refused.status,
          refused.headers['content-range'],
          refused.headers['x-repo-commit'],
          refused.headers['cache-control'],
          refused.headers['etag'],
        ],
        [416, `bytes */${size}`, commit, undefined, undefined],
        `${path} ${range}`,
      )
      t.match(JSON.parse(refused.body.toString()), { error: refused.headers['x-error-message']! })
    }
    for (const range of ['bytes=5-2', 'bytes=x', 'lines=1-2', '', 'bytes=1-2;3-4']) {
      const ignored = await ask(`/admin/files/${path}`, { headers: { range } })
      t.same([ignored.status, facts(ignored.headers)], [200, facts(whole.headers)], `${path} ${range}`)
    }
  }
  const empty = await ask('/admin/files/resolve/main/empty', { headers: { range: 'bytes=0-0' } })
  t.same([empty.status, empty.headers['content-range'], empty.headers['content-length'], empty.body.length], [200, 'bytes */0', '0', 0])
})

t.test('conditional requests', async (t) => {
  for (const [path, id] of [
    ['resolve/main/ten.bin', await blobOf('ten.bin')],
    ['resolve/main/model.safetensors', large.oid],
    ['raw/main/model.safetensors', await blobOf('model.safetensors')],
  ] as const) {
    const etag = `"${id}"`
    for (const method of ['GET', 'HEAD']) {
      const known = await ask(`/admin/files/${path}`, { method, headers: { 'if-none-match': `"x", ${etag}`, range: 'bytes=0-0' } })
      t.same(
        [known.status, known.body.length, known.headers.etag, known.headers['x-repo-commit'], known.headers['cache-control'], known.headers.vary],
        [304, 0, etag, commit, 'no-cache', 'Authorization'],
        `${method} ${path}`,
      )
      t.equal(known.headers['content-length'], undefined)
      t.equal((await ask(`/admin/files/${path}`, { method, headers: { 'if-none-match': '"x"' } })).status, 200)
      const failed = await ask(`/admin/files/${path}`, { method, headers: { 'if-match': '"x"' } })
      t.same([failed.status, failed.headers['x-error-message']], [412, 'the file is not the one that If-Match names'])
      t.equal((await ask(`/admin/files/${path}`, { method, headers: { 'if-match': etag } })).status, 200)
      t.equal((await ask(`/admin/files/${path}`, { method, headers: { 'if-modified-since': new Date().toUTCString() } })).status, 200)
    }
    const range = 'bytes=1-2'
    t.equal((await ask(`/admin/files/${path}`, { headers: { range, 'if-range': etag } })).status, 206)
    for (const other of ['"x"', `W/${etag}`, new Date().toUTCString()]) {
      t.equal((await ask(`/admin/files/${path}`, { headers: { range, 'if-range': other } })).status, 200, other)
    }
    t.equal((await ask(`/admin/files/${path}`, { headers: { range: 'bytes=999999-', 'if-range': '"x"' } })).status, 200)
  }
})

const refusalOf = ({ status, headers }: Answer) => [status, headers['x-error-code'], headers['x-error-message'], headers['x-repo-commit']]

t.test('what is not there is refused as clients expect it', async (t) => {
  const entry = [404, 'EntryNotFound', 'Entry not found', commit]
  const missing = (path: string, oid: string) => [
    404,
    'EntryNotFound',
    `Entry not found: ${path} at ${commit} is a large file (sha256 ${oid}) that this repository does not have`,
    commit,
  ]
  const revision = (name: string) => [404, 'RevisionNotFound', `Invalid rev id: ${name}`, undefined]
  const table: readonly [path: string, expected: readonly unknown[]][] = [
    ['main/nothing', entry],
    ['main/dir', entry],
    ['main/dir/', entry],
    ['main/dir/sub', entry],
    ['main/module', entry],
    ['main/module/x', entry],
    ['main/README.md/x', entry],
    ['main/README.md/', entry],
    ['main/link/x', entry],
    ['main/readme.md', entry],
    ['main', entry],
    ['main/', entry],
    ['feature%2Fx', entry],
    ['nobody/README.md', revision('nobody')],
    ['feature/y/README.md', revision('feature')],
    ['feature%2Fy/README.md', revision('feature/y')],
    ['0000000/README.md', revision('0000000')],
    [`${'0'.repeat(40)}/README.md`, revision('0'.repeat(40))],
    ['main/elsewhere.bin', missing('elsewhere.bin', elsewhere.oid)],
  ]
  for (const [path, expected] of table) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(`/admin/files/resolve/${path}`, { method })
      t.same(refusalOf(answer), expected, `${method} ${path}`)
      t.same([answer.headers['etag'], answer.headers['cache-control'], answer.headers['content-disposition']], [undefined, undefined, undefined])
      if (method === 'GET') t.same(JSON.parse(answer.body.toString()), { error: expected[2] })
      else t.equal(answer.body.length, 0)
    }
  }
  t.equal((await ask('/admin/files/raw/main/elsewhere.bin')).body.toString(), elsewhere.pointer.toString(), 'its pointer is there all the same')
})

t.test('hostile addresses find nothing, and nothing breaks', async (t) => {
  const table: readonly [path: string, status: number][] = [
    ['main/../main/README.md', 404],
    ['main/%2e%2e/main/README.md', 404],
    ['main/dir/../README.md', 404],
    ['main/./README.md', 404],
    ['main//README.md', 404],
    ['main/dir//sub', 404],
    ['main/dir%2Fsub%2Fdeep%20file%3F%23%25.txt', 200], // clients that encode the whole path
    ['main/..%2f..%2f..%2fetc%2fpasswd', 404],
    ['main/%00', 404],
    ['main/README.md%00', 404],
    ['main%00/README.md', 404],
    ['main/README.md%0d%0aX-Evil:%201', 404],
    ['x%0d%0aX-Evil:%201/README.md', 404],
    ['main/.git/config', 404],
    ['main/README.md;x', 404],
    ['main/%ff', 400],
    ['main/%', 400],
    ['main/%zz', 400],
    ['%c0%ae%c0%ae/x', 400],
    ['/main/README.md', 404],
    ['main/%F0%9F%98%80', 404],
    [`main/${'d/'.repeat(5_000)}x`, 404],
    [`main/${'x'.repeat(10_000)}`, 404],
    [`${'x'.repeat(10_000)}/y`, 404],
    [`${'%2F'.repeat(3_000)}/y`, 404],
    ['main\\..\\README.md', 404],
    ['main/README.md?path=../../x', 200],
    ['main/README.md#x', 200],
  ]
  for (const verb of ['resolve', 'raw']) {
    for (const [path, status] of table) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await ask(`/admin/files/${verb}/${path}`, { method })
        t.equal(answer.status, status, `${method} ${verb} ${path.slice(0, 50)}`)
        t.equal(answer.headers['x-evil'], undefined)
      }
    }
  }
  for (const method of ['POST', 'PUT', 'DELETE']) t.equal((await ask('/admin/files/resolve/main/README.md', { method })).status, 404, method)
})

t.test('a large object whose bytes are gone is an error that nobody keeps, and one that is short is never taken for whole', async (t) => {
  const gone = await ask('/admin/files/resolve/main/lost.bin')
  t.same(
    [
      gone.status,
      gone.headers['content-type'],
      gone.headers.etag,
      gone.headers['cache-control'],
      gone.headers['x-linked-etag'],
      gone.headers['accept-ranges'],
    ],
    [500, 'application/json; charset=utf-8', undefined, undefined, undefined, undefined],
  )
  t.same(JSON.parse(gone.body.toString()), { error: 'internal error: the log of the hub says more' })
  const part = await ask('/admin/files/resolve/main/lost.bin', { headers: { range: 'bytes=1-2' } })
  t.same([part.status, part.headers['content-range']], [500, undefined])
  t.equal((await ask('/admin/files/resolve/main/short.bin')).status, 500, 'found out before the first byte')
})

t.test('a large object leaves with its link; only headers may lag for a moment', async (t) => {
  const passing = await hub.link(repo, Buffer.from('linked for a while'))
  const next = await work.commit({ 'passing.bin': passing.pointer })
  await hub.push(repo, { commands: [create('refs/heads/passing', next)], pack: await work.pack(next, `^${commit}`) })
  const path = '/admin/files/resolve/passing/passing.bin'
  t.equal((await ask(path)).body.toString(), 'linked for a while')
  const before = hub.finds
  for (let i = 0; i < 5; i++) t.equal((await ask(path, { method: 'HEAD' })).headers['x-linked-size'], '18')
  t.equal(hub.finds, before, 'the same HEAD again asks nobody')
  await hub.unlink(repo, passing.oid)
  t.equal((await ask(path)).status, 404)
  t.equal((await ask(path, { headers: { 'if-none-match': `"${passing.oid}"` } })).status, 404)
  t.equal((await ask(path, { method: 'HEAD' })).status, 404, 'what was seen to be gone is gone')
})

t.test('a warm HEAD asks the database nothing', async (t) => {
  await ask('/admin/files/resolve/main/README.md', { method: 'HEAD' })
  const { db } = domain
  const spied = db as { query: typeof db.query; transaction: typeof db.transaction }
  const original = { query: db.query, transaction: db.transaction }
  let statements = 0
  spied.query = ((...args: Parameters<typeof db.query>) => (statements++, original.query.apply(db, args))) as typeof db.query
  spied.transaction = ((...args: Parameters<typeof db.transaction>) => (statements++, original.transaction.apply(db, args))) as typeof db.transaction
  t.teardown(() => Object.assign(spied, original))
  for (const path of ['README.md', 'dir/gr%C3%B6%C3%9Fe.txt', 'nothing']) await ask(`/admin/files/resolve/main/${path}`, { method: 'HEAD' })
  t.equal(statements, 0)
})
