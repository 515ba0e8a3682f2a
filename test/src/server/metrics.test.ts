import type { InjectOptions } from 'fastify'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { LfsOid } from '../../../lfs/types.js'
import { HubError } from '../../../src/errors.js'
import type { LargeFiles } from '../../../src/large-files/large-files.js'
import { watchLargeFiles } from '../../../src/server/metrics/large-file-metrics.js'
import { createMetrics, type Metrics } from '../../../src/server/metrics/metrics.js'
import { createWorkMetrics } from '../../../src/server/metrics/work-metrics.js'
import { createPeopledHub } from '../../support/memory-hub.js'

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
const seriesOf = (text: string): string[] => linesOf(text).map((line) => line.slice(0, line.lastIndexOf(' ')))
const textOf = async ({ expose }: Metrics): Promise<string> => (await expose()).text
const token = 'measure-me-0123456789'

t.test('who may read them: with a token its bearer, else this machine while nothing stands in front of the hub', async (t) => {
  const bearer = (sent: string) => ({ authorization: `Bearer ${sent}` })
  const plain = { metricsToken: undefined }
  const withToken = { metricsToken: token }
  const requests: readonly [label: string, hub: Parameters<typeof createPeopledHub>[0], request: InjectOptions, status: number][] = [
    ['from this machine', plain, {}, 200],
    ['from this machine, 127/8', plain, { remoteAddress: '127.1.2.3' }, 200],
    ['from this machine, IPv6', plain, { remoteAddress: '::1', headers: { host: '[::1]:8080' } }, 200],
    ['from this machine, IPv4 in IPv6', plain, { remoteAddress: '::ffff:127.0.0.1' }, 200],
    ['from elsewhere', plain, { remoteAddress: '192.0.2.7' }, 404],
    ['from elsewhere, IPv6', plain, { remoteAddress: '2001:db8::1' }, 404],
    ['from elsewhere, IPv4 in IPv6', plain, { remoteAddress: '::ffff:192.0.2.7' }, 404],
    ['from elsewhere, with a token that is not set', plain, { remoteAddress: '192.0.2.7', headers: bearer('undefined') }, 404],
    ['from elsewhere, as the admin', plain, { remoteAddress: '192.0.2.7', headers: bearer('hf_admin') }, 404],
    ['by another name, as a page of a stranger would', plain, { headers: { host: 'evil.example' } }, 404],
    ['by a name that is allowed', { allowedHosts: ['hub.local'] }, { headers: { host: 'hub.local' } }, 404],
    ['through a proxy nobody spoke of', plain, { headers: { 'x-forwarded-for': '127.0.0.1' } }, 404],
    ['the same, another way', plain, { headers: { forwarded: 'for=127.0.0.1' } }, 404],
    ['the same, a third way', plain, { headers: { 'x-real-ip': '127.0.0.1' } }, 404],
    ['the same, a fourth way', plain, { headers: { via: '1.1 proxy' } }, 404],
    ['where proxies are trusted', { trustedProxies: ['127.0.0.1'] }, {}, 404],
    [
      'where proxies are trusted, from what calls itself this machine',
      { trustedProxies: ['192.0.2.7'] },
      { remoteAddress: '192.0.2.7', headers: { 'x-forwarded-for': '127.0.0.1' } },
      404,
    ],
    ['where there is a public address', { publicUrl: 'https://hub.example' }, {}, 404],
    ['with the token', withToken, { headers: bearer(token) }, 200],
    ['with the token, from elsewhere', withToken, { remoteAddress: '192.0.2.7', headers: { ...bearer(token), host: 'hub.example' } }, 200],
    [
      'with the token, through a proxy',
      { ...withToken, trustedProxies: ['192.0.2.7'] },
      { remoteAddress: '192.0.2.7', headers: { ...bearer(token), 'x-forwarded-for': '198.51.100.1' } },
      200,
    ],
    [
      'with the token, below the public address',
      { ...withToken, publicUrl: 'https://hub.example/models' },
      { url: '/models/metrics', headers: bearer(token) },
      200,
    ],
    ['without the token, from this machine', withToken, {}, 404],
    ['with a wrong token', withToken, { headers: bearer(`${token}0`) }, 404],
    ['with half a token', withToken, { headers: bearer(token.slice(0, -1)) }, 404],
    ['with an empty token', withToken, { headers: bearer('') }, 404],
    ['with the token of the admin', withToken, { headers: bearer('hf_admin') }, 404],
    ['with the token as a password', withToken, { headers: { authorization: `Basic ${Buffer.from(`x:${token}`).toString('base64')}` } }, 404],
    ['with the token in the address', withToken, { url: `/metrics?token=${token}` }, 404],
  ]
  for (const [label, options, request, status] of requests) {
    const { app } = createPeopledHub(options)
    t.equal((await app.inject({ url: '/metrics', ...request })).statusCode, status, label)
    await app.close()
  }
})

t.test('whoever may not read them is answered as if they were not there', async (t) => {
  const { app } = createPeopledHub({ metricsToken: token })
  const answerOf = async (url: string) => {
    const { statusCode, headers, body } = await app.inject({ url })
    const { 'x-request-id': _, date: _date, ...rest } = headers
    return JSON.stringify({ statusCode, rest, body }).replaceAll(url, 'URL')
  }
  t.equal(await answerOf('/metrics'), await answerOf('/nothing'))
})

t.test('they are in the format of Prometheus, and say which release runs', async (t) => {
  const { app } = createPeopledHub()
  const { headers, body } = await app.inject({ url: '/metrics' })
  t.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  t.equal(headers['cache-control'], 'no-store')
  t.match(body, /^# HELP cairn_build_info .+\n# TYPE cairn_build_info gauge\ncairn_build_info\{version="\d+\.\d+\.\d+"\} 1$/m)
  t.ok(linesOf(body).every((line) => /^cairn_[a-z0-9_]+(\{[^}]*\})? \S+$/.test(line)))
})

t.test('a thousand addresses make no series more than one does', async (t) => {
  const { app } = createPeopledHub()
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const send = (path: string, method = 'GET'): Promise<string> =>
    new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, agent: false }, (response) => {
        text(response).then(resolve, reject)
      })
      sent.once('error', reject).end()
    })
  const scrape = () => send('/metrics')
  const ask = (name: string, method: string) =>
    Promise.all([
      send(`/api/models/alice/${name}`),
      send(`/datasets/alice/${name}.git/info/refs?service=git-upload-pack`),
      send(`/alice/open/resolve/${name}/a/b/${name}`),
      send(`/${name}`),
      send(`/api/${name}/${name}`, 'DELETE'),
      send(`/%${name}`), // not even an address
      send(`/x${name}`, method),
      send(`/${'n'.repeat(9_000)}${name}/x/info/refs`),
    ])
  await ask('first', 'PROPFIND')
  await scrape() // counts itself from the second time on
  const before = seriesOf(await scrape())
  for (let i = 0; i < 125; i++) await ask(`n${i}`, ['PROPFIND', 'MKCOL', 'TRACE', 'SEARCH', 'LOCK'][i % 5]!)
  const after = await scrape()
  t.same(seriesOf(after), before)
  t.notMatch(after, /alice|n124/)
  const counts = linesOf(after).filter((line) => line.startsWith('cairn_http_request_duration_seconds_count'))
  t.same(counts.toSorted(), [
    'cairn_http_request_duration_seconds_count{method="DELETE",route="unknown",status="4xx"} 126',
    'cairn_http_request_duration_seconds_count{method="GET",route="/:namespace/:name/resolve/*",status="4xx"} 126',
    'cairn_http_request_duration_seconds_count{method="GET",route="/api/models/:namespace/:name",status="4xx"} 126',
    'cairn_http_request_duration_seconds_count{method="GET",route="/datasets/:namespace/:name/info/refs",status="4xx"} 126',
    'cairn_http_request_duration_seconds_count{method="GET",route="/metrics",status="2xx"} 2',
    'cairn_http_request_duration_seconds_count{method="GET",route="unknown",status="4xx"} 378',
    'cairn_http_request_duration_seconds_count{method="other",route="unknown",status="4xx"} 126',
  ])
})

t.test('jobs are counted by how they ended', async (t) => {
  const metrics = createMetrics()
  const never = new AbortController().signal
  const stopping = AbortSignal.abort()
  let fails = false
  const { clean } = createWorkMetrics(metrics.instruments).watchTasks({
    clean: async (signal) => {
      signal.throwIfAborted()
      if (fails) throw new Error('no')
    },
  })
  const lines = async () => linesOf(await textOf(metrics)).filter((line) => line.startsWith('cairn_job'))
  t.same(await lines(), [
    'cairn_job_runs_total{job="clean",outcome="done"} 0',
    'cairn_job_runs_total{job="clean",outcome="failed"} 0',
    'cairn_job_runs_total{job="clean",outcome="stopped"} 0',
  ])
  await t.rejects(clean(stopping))
  await clean(never)
  await clean(never)
  const now = Date.now() / 1000
  fails = true
  await t.rejects(clean(never), { message: 'no' })
  const after = await lines()
  t.same(after.slice(0, 3), [
    'cairn_job_runs_total{job="clean",outcome="done"} 2',
    'cairn_job_runs_total{job="clean",outcome="failed"} 1',
    'cairn_job_runs_total{job="clean",outcome="stopped"} 1',
  ])
  t.equal(after.length, 4)
  const [, at] = /^cairn_job_last_success_timestamp_seconds\{job="clean"\} (\S+)$/.exec(after[3]!)!
  t.ok(Math.abs(Number(at) - now) < 60)
})

t.test('a large file that is given up half-way is given up below as well, and counted as far as it came', async (t) => {
  const metrics = createMetrics()
  let ended = 0
  const bytes = async function* () {
    try {
      yield Buffer.alloc(10)
      yield Buffer.alloc(20)
    } finally {
      ended += 1
    }
  }
  let failure: unknown
  const service = {
    open: async () => bytes(),
    receive: async (_upload: unknown, chunks: AsyncIterable<Uint8Array>) => {
      for await (const _ of chunks) if (failure !== undefined) throw failure
    },
  } as unknown as LargeFiles
  const files = watchLargeFiles(metrics.instruments, service)
  const oid = 'a'.repeat(64) as LfsOid
  for await (const _ of await files.open(oid)) break
  t.equal(ended, 1)
  for await (const _ of await files.open(oid)) continue
  t.equal(ended, 2)
  const upload = (signal = new AbortController().signal) => files.receive({ oid, size: 30, repoId: 1, actorId: 1, signal }, bytes())
  await upload()
  failure = new HubError('invalid', 'other bytes')
  await t.rejects(upload())
  failure = new Error('the disk is gone')
  await t.rejects(upload())
  await t.rejects(upload(AbortSignal.abort()))
  t.same(
    linesOf(await textOf(metrics)).filter((line) => line.startsWith('cairn_large')),
    [
      'cairn_large_file_uploads_total{outcome="stored"} 1',
      'cairn_large_file_uploads_total{outcome="refused"} 1',
      'cairn_large_file_uploads_total{outcome="left"} 1',
      'cairn_large_file_uploads_total{outcome="failed"} 1',
      'cairn_large_file_uploads_in_flight 0',
      'cairn_large_file_received_bytes_total 60',
      'cairn_large_file_sent_bytes_total 40',
    ],
  )
})
