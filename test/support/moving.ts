import { spawn, type ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase, type Database } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import type { Hub } from './hub.js'
import { plainEnv, projectRoot } from './hub.js'
import type { PostgresServer } from './tools/postgres-server.js'
import type { S3Server } from './tools/s3-server.js'

interface Teardown {
  teardown(work: () => unknown): void
}

export type Settings = Readonly<Record<string, string>>

export interface OutsidePlace {
  /** What a hub there is run with. */
  readonly settings: Settings
  readonly db: Database
}

export const outsideToken = `hf_${'o'.repeat(34)}`

/** A database of its own in the server, of somebody who owns it and may do nothing else, and a bucket. */
export async function outsidePlace(t: Teardown, postgres: PostgresServer, s3: S3Server): Promise<OutsidePlace> {
  const name = `place_${randomBytes(4).toString('hex')}`
  const admin = openDatabase({ connection: parseDatabaseUrl(postgres.url()), maxConnections: 1, statementTimeoutMs: 30_000 })
  await admin.execute({ text: `CREATE ROLE ${name} LOGIN PASSWORD '${postgres.password}'`, values: [] })
  await admin.execute({ text: `CREATE DATABASE ${name} OWNER ${name}`, values: [] })
  await admin.close()
  const account = s3.account(await s3.makeBucket())
  const url = postgres.url({ database: name }).replace('//owner:', `//${name}:`)
  const db = openDatabase({ connection: parseDatabaseUrl(url), maxConnections: 2, statementTimeoutMs: 30_000 })
  t.teardown(() => db.close())
  return {
    db,
    settings: {
      DATABASE_URL: url,
      CAIRN_ADMIN_TOKEN: outsideToken,
      CAIRN_SECRET_KEY: 'a secret key of the place outside',
      CAIRN_S3_ENDPOINT: account.endpoint,
      CAIRN_S3_BUCKET: account.bucket,
      CAIRN_S3_REGION: account.region,
      CAIRN_S3_ACCESS_KEY: account.accessKey,
      CAIRN_S3_SECRET_KEY: account.secretKey,
      CAIRN_SPOOL_BYTES: '1GiB',
    },
  }
}

export async function temporaryFolder(t: Teardown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-move-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface Move {
  readonly child: ChildProcess
  /** Both streams. */
  output(): string
  /** The exit code; null after a signal. */
  readonly ended: Promise<number | null>
  /** SIGKILL, and waits. */
  kill(): Promise<void>
}

/** `cairn migrate-store --to` a file with those settings, in a process of its own. */
export async function startMove(t: Teardown, from: Settings, to: Settings, args: readonly string[] = []): Promise<Move> {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'target.env')
  await writeFile(
    file,
    Object.entries(to)
      .map(([name, value]) => `${name}='${value}'\n`)
      .join(''),
    { mode: 0o600 },
  )
  return runMove(t, from, ['--to', file, ...args], folder)
}

export async function runMove(t: Teardown, from: Settings, args: readonly string[], cwd = tmpdir()): Promise<Move> {
  const child = spawn(process.execPath, [join(projectRoot, 'build/src/cli/main.js'), 'migrate-store', ...args], {
    cwd,
    env: { ...plainEnv(), ...from },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString('utf8')))
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(kill)
  return { child, output: () => printed, ended, kill }
}

/** Uploads bytes as git-lfs does. Comes back with the status of what ended it: 200 when the hub has said that it has them. */
export async function uploadLarge(
  hub: Pick<Hub, 'url' | 'token'>,
  repo: string,
  content: Uint8Array,
): Promise<{ readonly oid: string; readonly status: number }> {
  const oid = createHash('sha256').update(content).digest('hex')
  const batch = await askBatch(hub, repo, 'upload', oid, content.length)
  if (batch.status !== 200) return { oid, status: batch.status }
  const { actions } = batch.object
  if (!actions?.['upload']) return { oid, status: 200 }
  const put = await fetch(actions['upload'].href, { method: 'PUT', body: content })
  await put.arrayBuffer()
  return { oid, status: put.status }
}

export async function downloadLarge(hub: Pick<Hub, 'url' | 'token'>, repo: string, oid: string, size: number): Promise<Buffer> {
  const { object } = await askBatch(hub, repo, 'download', oid, size)
  const answer = await fetch(object.actions!['download']!.href)
  if (answer.status !== 200) throw new Error(`the download answered ${answer.status}: ${await answer.text()}`)
  return Buffer.from(await answer.arrayBuffer())
}

interface BatchObject {
  readonly actions?: Readonly<Record<string, { readonly href: string }>>
}

export async function askBatch(
  { url, token }: Pick<Hub, 'url' | 'token'>,
  repo: string,
  operation: 'upload' | 'download',
  oid: string,
  size: number,
) {
  const response = await fetch(`${url}/${repo}.git/info/lfs/objects/batch`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`user:${token}`).toString('base64')}`,
      accept: 'application/vnd.git-lfs+json',
      'content-type': 'application/vnd.git-lfs+json',
    },
    body: JSON.stringify({ operation, objects: [{ oid, size }] }),
  })
  const body = (await response.json()) as { readonly objects?: readonly [BatchObject]; readonly message?: string }
  return { status: response.status, headers: response.headers, body, object: body.objects?.[0] ?? {} }
}

/** Holds a lock on a table in a transaction of its own. Comes back with what lets it go. */
export async function holdLock(t: Teardown, db: Database, table: string, mode: string): Promise<() => Promise<void>> {
  const connection = await db.direct()
  t.teardown(() => connection.close().catch(() => undefined))
  await connection.execute(sql`BEGIN`)
  await connection.execute({ text: `LOCK TABLE ${table} IN ${mode} MODE`, values: [] })
  return () => connection.close()
}
