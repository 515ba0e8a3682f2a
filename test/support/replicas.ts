import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { callApi, type CallApi } from './api.js'
import { freePort, plainEnv, projectRoot } from './hub.js'
import { findNginx, startNginx, type Nginx } from './tools/nginx.js'
import { findMinio } from './tools/minio.js'
import { startPostgres, type PostgresServer } from './tools/postgres-server.js'
import type { S3Server } from './tools/s3-server.js'

interface Teardown {
  teardown(work: () => unknown): void
}

/** One of several processes that are one hub. */
export interface Replica {
  readonly url: string
  readonly dataDirectory: string
  readonly child: ChildProcess
  output(): string
  start(): Promise<void>
  /** SIGTERM, and waits. Comes back with the exit code. */
  stop(): Promise<number | null>
  kill(): Promise<void>
}

export interface Replicas {
  /** Of what stands in front of them. */
  readonly url: string
  readonly token: string
  readonly api: CallApi
  readonly replicas: readonly Replica[]
  readonly postgres: PostgresServer
  readonly s3: S3Server
  readonly bucket: string
  readonly nginx: Nginx
  /** With credentials in it, for git: through the front, or one replica. */
  remote(path: string, at?: Replica): string
}

export interface ReplicasOptions {
  readonly count: number
  readonly env?: Readonly<Record<string, string>>
  /** More of it, once the database is there. */
  readonly databaseEnv?: (postgres: PostgresServer) => Promise<Readonly<Record<string, string>>>
  /** What stands before the store on the way of clients; comes back with its address. */
  readonly storeFront?: (endpoint: string) => Promise<string>
}

const startTimeoutMs = 60_000
const token = `hf_${'r'.repeat(34)}`

/** Why replicas cannot be started here: the reason that a skipped test names. */
export async function replicasMissing(): Promise<string | false> {
  return (await findMinio()).found.missing || (await findNginx()).missing
}

/** Hubs in processes of their own over one PostgreSQL and one bucket of a MinIO, behind nginx, which asks one after the other. */
export async function startReplicas(t: Teardown, { count, env = {}, databaseEnv, storeFront }: ReplicasOptions): Promise<Replicas> {
  const [minio, nginxFound] = [await findMinio(), await findNginx()]
  if (!minio.found.tool || !nginxFound.tool) throw new Error('MinIO and nginx are needed')
  const [postgres, s3] = await Promise.all([startPostgres(t, { settings: { max_connections: '200' } }), minio.found.tool.start(t)])
  const bucket = await s3.makeBucket()
  const account = s3.account(bucket)
  const ofDatabase = await databaseEnv?.(postgres)
  const publicEndpoint = await storeFront?.(account.endpoint)
  const home = await mkdtemp(join(tmpdir(), 'cairn-replicas-'))
  const [frontPort, ...ports] = await freePorts(count + 1)
  const publicUrl = `http://127.0.0.1:${frontPort}`
  const replicas: Replica[] = []
  for (const [i, port] of ports.entries()) {
    replicas.push(
      createReplica(join(home, `replica-${i + 1}`), port, {
        CAIRN_PUBLIC_URL: publicUrl,
        CAIRN_TRUSTED_PROXIES: '127.0.0.1',
        CAIRN_ADMIN_TOKEN: token,
        CAIRN_SECRET_KEY: 's'.repeat(40),
        CAIRN_SPOOL_BYTES: '4GiB',
        DATABASE_URL: postgres.url(),
        CAIRN_S3_ENDPOINT: account.endpoint,
        ...(publicEndpoint === undefined ? {} : { CAIRN_S3_PUBLIC_ENDPOINT: publicEndpoint }),
        CAIRN_S3_BUCKET: bucket,
        CAIRN_S3_REGION: account.region,
        CAIRN_S3_ACCESS_KEY: account.accessKey,
        CAIRN_S3_SECRET_KEY: account.secretKey,
        ...env,
        ...ofDatabase,
      }),
    )
  }
  t.teardown(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()))
    await rm(home, { recursive: true, force: true })
  })
  await Promise.all(replicas.map((replica) => replica.start()))
  const hubs = ports.map((port) => `127.0.0.1:${port}`)
  const nginx = await startNginx(t, {
    program: nginxFound.tool,
    hubs: [hubs[0]!, hubs[1] ?? hubs[0]!],
    change: (site) =>
      site.replace(/server hub-2:8080( .*;)/, (line, options: string) =>
        [line, ...hubs.slice(2).map((hub) => `server ${hub}${options}`)].join('\n  '),
      ),
    port: frontPort!,
  })
  const remote = (path: string, at?: Replica): string => `${(at?.url ?? nginx.url).replace('http://', `http://user:${token}@`)}/${path}`
  return { url: nginx.url, token, api: callApi(nginx.url, () => token), replicas, postgres, s3, bucket, nginx, remote }
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}

function createReplica(dataDirectory: string, port: number, env: Readonly<Record<string, string>>): Replica {
  const url = `http://127.0.0.1:${port}`
  let child: ChildProcess | undefined
  let printed = ''
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exited = new Promise<number | null>((resolve) => child!.once('exit', resolve))
    child.kill(signal)
    return exited
  }
  return {
    url,
    dataDirectory,
    get child() {
      return child!
    },
    output: () => printed,
    async start() {
      child = spawn(process.execPath, [join(projectRoot, 'build/src/cli/main.js'), 'serve'], {
        cwd: tmpdir(),
        env: { ...plainEnv(), CAIRN_DATA: dataDirectory, CAIRN_PORT: String(port), ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      for (const stream of [child.stdout!, child.stderr!])
        stream.on('data', (chunk: Buffer) => {
          printed = (printed + chunk.toString('utf8')).slice(-400_000)
        })
      const deadline = performance.now() + startTimeoutMs
      for (;;) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`the replica ended with ${child.exitCode ?? child.signalCode}:\n${printed}`)
        if (performance.now() > deadline) throw new Error(`the replica did not get ready:\n${printed}`)
        const ready = await fetch(`${url}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        )
        if (ready) return
        await delay(50)
      }
    },
    stop: () => end('SIGTERM'),
    async kill() {
      await end('SIGKILL')
    },
  }
}
