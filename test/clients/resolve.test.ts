import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'

const run = promisify(execFile)
const hub = await startHub(t)
const folder = t.testdir()
const work = join(folder, 'work')

/** The same bytes every time; they do not compress. */
function noise(bytes: number): Buffer {
  const blocks: Buffer[] = []
  for (let i = 0; i * 64 < bytes; i++) blocks.push(createHash('sha512').update(String(i)).digest())
  return Buffer.concat(blocks).subarray(0, bytes)
}

const content = noise(9_000_000)
const table = Buffer.from(Array.from({ length: 60_000 }, (_, i) => `row ${i}, ${i * i}\n`).join(''))
await hub.api('POST', '/api/cairn/repos', { id: 'admin/files', type: 'dataset', empty: true })
await git(['init', '-q', work])
writeFileSync(join(work, 'noise.dat'), content)
writeFileSync(join(work, 'table.csv'), table)
writeFileSync(join(work, 'größe & co.txt'), 'umlaut')
await git(['add', '-A'], { cwd: work })
await git(['commit', '-q', '-m', 'one'], { cwd: work })
writeFileSync(join(work, 'table.csv'), Buffer.concat([table, Buffer.from('last row\n')]))
await git(['commit', '-q', '-am', 'two'], { cwd: work })
await git(['repack', '-q', '-adf'], { cwd: work })
await git(['push', '-q', hub.remote('datasets/admin/files'), 'main', 'main:feature/x'], { cwd: work })
const commit = (await git(['rev-parse', 'main'], { cwd: work })).stdout.toString().trim()
const base = `${hub.url}/datasets/admin/files/resolve`

const curl = async (...args: string[]): Promise<string> =>
  (await run('curl', ['-sS', '--fail', ...args], { encoding: 'utf8', maxBuffer: 2 ** 26 })).stdout

t.test('curl fetches files whole, at every revision', async (t) => {
  for (const revision of ['main', 'feature/x', 'feature%2Fx', commit, commit.slice(0, 8)]) {
    const out = join(folder, 'whole')
    await curl('-o', out, `${base}/${revision}/noise.dat`)
    t.ok(readFileSync(out).equals(content), revision)
  }
  t.equal(await curl(`${base}/main/gr%C3%B6%C3%9Fe%20%26%20co.txt`), 'umlaut')
  const before = (await git(['rev-parse', 'main~1'], { cwd: work })).stdout.toString().trim()
  t.equal((await curl(`${base}/${before}/table.csv`)).length, table.length, 'as a delta or its base')
  t.equal((await curl(`${base}/main/table.csv`)).length, table.length + 9)
})

t.test('curl resumes a download where it broke off, and takes up nothing of another version', async (t) => {
  const out = join(folder, 'part')
  writeFileSync(out, content)
  truncateSync(out, 4_321_987)
  const said = await curl('-C', '-', '-D', '-', '-o', out, `${base}/main/noise.dat`)
  t.match(said, /^HTTP\/1\.1 206 /)
  t.match(said, /^content-range: bytes 4321987-8999999\/9000000\r$/m)
  t.ok(readFileSync(out).equals(content))
  await t.rejects(curl('-C', '-', '-o', out, `${base}/main/noise.dat`), /416/, 'there is no more')
  t.ok(readFileSync(out).equals(content))
  truncateSync(out, 1_000)
  const whole = await curl('-r', '1000-', '-H', 'If-Range: "another"', '-D', '-', '-o', join(folder, 'other'), `${base}/main/noise.dat`)
  t.match(whole, /^HTTP\/1\.1 200 /)
})

t.test('curl saves under the name of the file, and asks again only for what changed', async (t) => {
  const dir = t.testdir()
  await run('curl', ['-sS', '--fail', '-OJ', `${base}/main/table.csv?download=true`], { cwd: dir })
  t.equal(readFileSync(join(dir, 'table.csv')).length, table.length + 9)
  const etags = join(dir, 'etags')
  await curl('--etag-save', etags, '-o', join(dir, 'x'), `${base}/main/table.csv`)
  t.equal(await curl('--etag-compare', etags, '-o', join(dir, 'y'), '-w', '%{http_code}', `${base}/main/table.csv`), '304')
})

t.test('HEAD says what GET would', async (t) => {
  const head = await curl('-I', `${base}/main/noise.dat`)
  t.match(head, /^HTTP\/1\.1 200 OK\r$/m)
  t.match(head, new RegExp(`^x-repo-commit: ${commit}\\r$`, 'm'))
  t.match(head, /^content-length: 9000000\r$/m)
  t.match(head, /^accept-ranges: bytes\r$/m)
  t.match(head, new RegExp(`^etag: "${(await git(['rev-parse', 'main:noise.dat'], { cwd: work })).stdout.toString().trim()}"\\r$`, 'm'))
})

t.test('many files and ranges at once, some by clients that leave, come out whole', async (t) => {
  const hash = createHash('sha256').update(content).digest('hex')
  await Promise.all(
    Array.from({ length: 16 }, async (_, i) => {
      if (i % 4 === 3) {
        const leaving = get(`${base}/main/noise.dat`, { agent: false })
        const [response] = (await once(leaving, 'response')) as [IncomingMessage]
        await once(response, 'readable')
        response.destroy()
      } else if (i % 4 === 2) {
        const range = await fetch(`${base}/main/noise.dat`, { headers: { range: `bytes=${i * 1000}-${i * 500_000}` } })
        t.ok(Buffer.from(await range.arrayBuffer()).equals(content.subarray(i * 1000, i * 500_000 + 1)))
      } else {
        const whole = await fetch(`${base}/main/noise.dat`)
        t.equal(
          createHash('sha256')
            .update(Buffer.from(await whole.arrayBuffer()))
            .digest('hex'),
          hash,
        )
      }
    }),
  )
  t.notMatch(hub.output(), /request failed|answer broken off/)
})
