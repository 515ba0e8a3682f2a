import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { becomes } from '../support/becomes.js'
import { git } from '../support/git.js'
import { projectRoot, startHub } from '../support/hub.js'

const hub = await startHub(t, { env: { CAIRN_WORKERS: '3', CAIRN_TABLE_BYTES: '32MiB', CAIRN_SPOOL_BYTES: '1GiB' } })
const home = t.testdir({ work: {} })
const work = join(home, 'work')
const inWork = (...args: string[]) => git(args, { cwd: work, ok: false })

async function scrape(): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${hub.url}/metrics`)
  if (response.status !== 200) throw new Error(`metrics were answered with ${response.status}`)
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

/** Of these, those that are not 0. */
async function figures(prefix: string): Promise<Record<string, number>> {
  return Object.fromEntries([...(await scrape())].filter(([name, value]) => name.startsWith(prefix) && value !== 0))
}

t.test('a fresh hub has counted no push, and knows its limits', async (t) => {
  t.same(await figures('cairn_git_'), {})
  const all = await scrape()
  t.equal(all.get('cairn_git_pushes_total{outcome="accepted"}'), 0)
  t.equal(all.get('cairn_git_fetches_total{answer="stored",outcome="sent"}'), 0)
  t.equal(all.get('cairn_spool_limit_bytes'), 1_073_741_824)
  t.equal(all.get('cairn_spool_used_bytes'), 0)
  t.equal(all.get('cairn_ingest_limit_bytes'), 134_217_728)
  t.equal(all.get('cairn_ingest_used_bytes'), 0)
  t.equal(all.get('cairn_table_limit_bytes'), 33_554_432)
  t.equal(all.get('cairn_answer_limit_bytes'), 67_108_864)
  t.equal(all.get('cairn_worker_threads_limit'), 3)
  t.equal(all.get('cairn_worker_threads_busy'), 0)
  t.equal(all.get('cairn_worker_jobs'), 0)
  t.equal(all.get('cairn_turns_waiting{work="check"}'), 0)
  t.equal(all.get('cairn_turns_waiting{work="build"}'), 0)
  t.equal(all.get('cairn_database_connections_limit'), 20)
  t.equal(all.get('cairn_database_waiting'), 0)
  t.ok(all.get('cairn_database_connections')! >= 1)
  t.equal(all.get('cairn_http_requests_in_flight'), 1)
  for (const name of [
    'process_resident_memory_bytes',
    'nodejs_heap_size_used_bytes',
    'nodejs_eventloop_lag_p99_seconds',
    'process_cpu_seconds_total',
  ])
    t.ok(all.get(`cairn_${name}`)! > 0, name)
})

t.test('what the hub does by itself is counted', async (t) => {
  t.ok(await becomes(async () => (await scrape()).get('cairn_job_runs_total{job="finish-deleting",outcome="done"}') === 1))
  const at = (await scrape()).get('cairn_job_last_success_timestamp_seconds{job="finish-deleting"}')!
  t.ok(Math.abs(at - Date.now() / 1000) < 120)
})

t.test('pushes and clones are counted, by what became of them and what answered them', async (t) => {
  t.equal((await hub.api('POST', '/api/cairn/repos', { type: 'model', id: 'admin/measured', empty: true })).status, 200)
  await git(['init', '-q'], { cwd: work })
  await inWork('remote', 'add', 'origin', hub.remote('admin/measured'))
  await writeFile(join(work, 'a.txt'), 'one\n')
  await inWork('add', '.')
  await inWork('commit', '-q', '-m', 'one')
  t.equal((await inWork('push', '-q', 'origin', 'main')).code, 0)
  const { cairn_git_ingested_bytes_total: bytes, ...first } = await figures('cairn_git_')
  t.same(first, { 'cairn_git_pushes_total{outcome="accepted"}': 1, cairn_git_ingested_objects_total: 3 })
  t.ok(bytes! > 100 && bytes! < 1000)
  t.ok((await scrape()).get('cairn_table_used_bytes')! > 0)

  const clone = (name: string) => git(['clone', '-q', `${hub.url}/admin/measured`, join(home, name)])
  await clone('first')
  t.same(await figures('cairn_git_fetches'), { 'cairn_git_fetches_total{answer="stored",outcome="sent"}': 1 })
  t.ok((await scrape()).get('cairn_answer_used_bytes')! > 0)
  await clone('second')
  t.same(await figures('cairn_git_fetches'), {
    'cairn_git_fetches_total{answer="stored",outcome="sent"}': 1,
    'cairn_git_fetches_total{answer="kept",outcome="sent"}': 1,
  })

  await writeFile(join(work, 'a.txt'), 'two\n')
  await inWork('commit', '-q', '-a', '-m', 'two')
  t.equal((await inWork('push', '-q', 'origin', 'main')).code, 0)
  await clone('third')
  t.same(await figures('cairn_git_fetches'), {
    'cairn_git_fetches_total{answer="stored",outcome="sent"}': 1,
    'cairn_git_fetches_total{answer="kept",outcome="sent"}': 1,
    'cairn_git_fetches_total{answer="walk",outcome="sent"}': 1,
  })

  // A pointer to bytes that nobody sent; a delete beside it stands.
  await inWork('push', '-q', 'origin', 'main:refs/heads/old')
  await writeFile(join(work, 'w.bin'), `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 5\n`)
  await inWork('add', '.')
  await inWork('commit', '-q', '-m', 'pointer')
  t.not((await inWork('push', '-q', 'origin', 'main')).code, 0)
  t.not((await inWork('push', '-q', 'origin', 'main', ':refs/heads/old')).code, 0)
  t.same(await figures('cairn_git_pushes'), {
    'cairn_git_pushes_total{outcome="accepted"}': 3,
    'cairn_git_pushes_total{outcome="refused"}': 1,
    'cairn_git_pushes_total{outcome="partial"}': 1,
  })
  const all = await scrape()
  t.equal(all.get('cairn_http_request_duration_seconds_count{method="POST",route="/:namespace/:name/git-receive-pack",status="2xx"}'), 5)
  t.equal(all.get('cairn_http_request_duration_seconds_bucket{le="+Inf",method="POST",route="/:namespace/:name/git-receive-pack",status="2xx"}'), 5)
  t.equal(all.get('cairn_spool_used_bytes'), 0)
  t.equal(all.get('cairn_ingest_used_bytes'), 0)
  t.equal(all.get('cairn_worker_jobs'), 0)
})

const content = Buffer.alloc(100_000, 'cairn')
const oid = createHash('sha256').update(content).digest('hex')

async function action(operation: 'upload' | 'download', object: { oid: string; size: number }): Promise<string> {
  const { status, body } = await hub.api('POST', '/admin/measured.git/info/lfs/objects/batch', { operation, objects: [object] })
  if (status !== 200) throw new Error(`the batch was answered with ${status}`)
  return (body as { objects: { actions: Record<string, { href: string }> }[] }).objects[0]!.actions[operation]!.href
}

t.test('large files are counted on their way in and out, and by what became of them', async (t) => {
  const put = async (size: number, body: Buffer, sha256 = oid) =>
    (await fetch(await action('upload', { oid: sha256, size }), { method: 'PUT', body: new Uint8Array(body) })).status
  t.equal(await put(100_000, content), 200)
  t.same(await figures('cairn_large_file'), {
    'cairn_large_file_uploads_total{outcome="stored"}': 1,
    cairn_large_file_received_bytes_total: 100_000,
  })
  t.equal(await put(7, Buffer.from('another'), 'b'.repeat(64)), 422)
  const download = await action('download', { oid, size: 100_000 })
  t.equal((await (await fetch(download)).arrayBuffer()).byteLength, 100_000)
  t.equal((await (await fetch(download, { headers: { range: 'bytes=0-9' } })).arrayBuffer()).byteLength, 10)
  t.same(await figures('cairn_large_file'), {
    'cairn_large_file_uploads_total{outcome="stored"}': 1,
    'cairn_large_file_uploads_total{outcome="refused"}': 1,
    cairn_large_file_received_bytes_total: 100_007,
    cairn_large_file_sent_bytes_total: 100_010,
  })
})

t.test('an upload under way is seen, and so is that it was given up', async (t) => {
  const { pathname, search, port, host } = new URL(await action('upload', { oid: 'c'.repeat(64), size: 50_000 }))
  const socket = connect(Number(port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 50000\r\n\r\n`)
  socket.write(Buffer.alloc(20_000))
  t.ok(await becomes(async () => (await scrape()).get('cairn_large_file_received_bytes_total') === 120_007))
  t.equal((await scrape()).get('cairn_large_file_uploads_in_flight'), 1)
  t.equal((await scrape()).get('cairn_http_requests_in_flight'), 2)
  const { cairn_http_received_bytes_total: received, cairn_http_sent_bytes_total: sent } = await figures('cairn_http_')
  // The large files, and what was said around them: of that there is less here than another 100 kB each way, metrics apart.
  t.ok(received! > 120_007 && received! < 220_000)
  t.ok(sent! > 100_010)
  socket.destroy()
  t.ok(await becomes(async () => (await scrape()).get('cairn_large_file_uploads_total{outcome="left"}') === 1))
  const all = await scrape()
  t.equal(all.get('cairn_large_file_uploads_in_flight'), 0)
  t.equal(all.get('cairn_http_requests_in_flight'), 1)
  t.equal(all.get('cairn_http_request_duration_seconds_count{method="PUT",route="/:namespace/:name/info/lfs/objects/:oid",status="cut"}'), 1)
})

t.test('the manual explains every figure there is, and no other', async (t) => {
  const manual = await readFile(join(projectRoot, 'docs', 'metrics.md'), 'utf8')
  const explained = [...manual.matchAll(/`(cairn_[a-z0-9_]+)/g)].map(([, name]) => name!)
  const given = [...(await scrape()).keys()].map((series) => series.replace(/(_bucket|_count|_sum)?(\{.*)?$/, ''))
  // Those of the process are the library's.
  const ours = (names: readonly string[]) => [...new Set(names)].filter((name) => !/^cairn_(process|nodejs)_/.test(name)).toSorted()
  t.same(ours(explained), ours(given))
})

t.test('no figure says a name', async (t) => {
  const text = await (await fetch(`${hub.url}/metrics`)).text()
  t.notMatch(text, /measured|admin\/|user=|repo=/)
})

t.test('with a token set, nobody reads without it', async (t) => {
  await hub.restart({ CAIRN_METRICS_TOKEN: 'measure-me-0123456789' })
  t.equal((await fetch(`${hub.url}/metrics`)).status, 404)
  t.equal((await hub.api('GET', '/metrics')).status, 404)
  t.equal((await hub.api('GET', '/metrics', undefined, 'measure-me-0123456789')).status, 200)
  t.notMatch(hub.output(), 'measure-me')
})
