import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { serveHub } from './served-hub.js'
import type { GitLfs } from './tools/git-lfs.js'
import { lfsPerson, someBytes } from './tools/lfs-person.js'
import type { PostgresServer } from './tools/postgres-server.js'

const databaseTests = join(import.meta.dirname, '..', 'src', 'db')

/** Runs all tests of the room `src/db` against a server, each file in a process of its own. Comes back with the files. */
export async function runDatabaseTests(t: Test, server: PostgresServer): Promise<readonly string[]> {
  const files = readdirSync(databaseTests).filter((name) => name.endsWith('.test.js'))
  for (const file of files) {
    const child = spawn(process.execPath, ['--enable-source-maps', join(databaseTests, file)], {
      env: { ...process.env, CAIRN_TEST_DATABASE: server.socketUrl },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    t.equal(code, 0, `${file}\n${code === 0 ? '' : out + err}`)
    t.match(out, /^1\.\.[1-9]/m, `${file} ran`)
    t.notMatch(out, /# skip/i)
  }
  return files
}

/** One person's day on a hub over a server: an import, pushes, a large file, a clone, what the hub does by itself, a second start. */
export async function runStory(t: Test, server: PostgresServer, gitLfs: GitLfs): Promise<void> {
  const admin = openDatabase({ connection: parseDatabaseUrl(server.url()), maxConnections: 1, statementTimeoutMs: 10_000 })
  // All that a hub needs: no superuser, no extension.
  await admin.execute({ text: `CREATE ROLE hub LOGIN PASSWORD '${server.password}'`, values: [] })
  await admin.execute(sql`CREATE DATABASE hub OWNER hub`)
  await admin.close()
  const hub = await serveHub(t, { DATABASE_URL: server.url({ database: 'hub' }).replace('//owner:', '//hub:') })
  await hub.services.startJobs()
  const person = await lfsPerson(t, { hub, gitLfs, name: 'alice' })
  await person.createRepo({ name: 'story', type: 'model', private: true })
  const dir = t.testdir()
  const [work, clone] = [join(dir, 'work'), join(dir, 'clone')]
  await person.git(['clone', '-q', `${hub.url}/alice/story`, work])
  const weights = someBytes(3_000_000)
  await person.commit(work, { 'model.safetensors': weights, 'README.md': '# story\n' })
  await person.git(['push', '-q', 'origin', 'main', 'main:refs/heads/topic', 'main:refs/tags/v1'], work)
  await person.commit(work, { 'README.md': '# another\n' })
  await person.git(['commit', '-q', '--amend', '-m', 'amended'], work)
  await person.git(['push', '-q', '--force', 'origin', 'main', ':refs/heads/topic'], work)

  await person.git(['clone', '-q', `${hub.url}/alice/story`, clone])
  t.ok(weights.equals(await readFile(join(clone, 'model.safetensors'))), 'weights')
  t.equal(await readFile(join(clone, 'README.md'), 'utf8'), '# another\n')
  t.same(
    (await person.text(['ls-remote', '--heads', '--tags', 'origin'], clone)).split('\n').map((line) => line.split('\t')[1]),
    ['refs/heads/main', 'refs/tags/v1'],
  )
  await person.git(['lfs', 'lock', 'model.safetensors'], clone)
  t.match(await person.text(['lfs', 'locks'], clone), /model\.safetensors\s+alice/)
  const { status, body } = await hub.api('GET', '/api/models/alice/story', undefined, person.token)
  t.equal(status, 200)
  t.match(body, { id: 'alice/story', private: true, sha: await person.text(['rev-parse', 'HEAD'], clone) })
  t.equal((await hub.api('GET', '/api/models/alice/story', undefined, '')).status, 401)
  t.equal((await hub.api('POST', '/api/cairn/gc', { dryRun: false })).status, 200)
  await person.git(['clone', '-q', `${hub.url}/alice/story`, join(dir, 'after')])
}
