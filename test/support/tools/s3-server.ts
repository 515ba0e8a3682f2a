import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'minio'
import type { S3Account } from '../../../src/storage/s3-signer.js'
import type { Found } from './run-tool.js'

interface Teardown {
  teardown(work: () => unknown): void
}

export interface S3Server {
  /** Of a bucket of this name. */
  account(bucket: string): S3Account
  readonly endpoint: string
  /** A new bucket. */
  makeBucket(): Promise<string>
  /** Everything in a bucket, uploads under way included, as the store itself lists it. */
  contents(bucket: string): Promise<readonly string[]>
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>
  /** Again over the same folder. */
  start(): Promise<void>
}

export interface S3ServerOptions {
  /** Buckets are also addressed by `<bucket>.<domain>`. */
  readonly domain?: string
  /** A folder with `public.crt` and `private.key`: it speaks TLS. */
  readonly certificates?: string
}

export interface S3Program {
  readonly name: string
  /** For names of things that belong to a test of it. */
  readonly slug: string
  readonly found: Found<{ readonly version: string; start(t: Teardown, options?: S3ServerOptions): Promise<S3Server> }>
}

export const accessKey = 'cairntest'
export const secretKey = 'cairn-test-secret'
export const region = 'us-east-1'
const readyTimeoutMs = 60_000

/** One program of a server; what it has no word for it gets from nobody: its environment is this alone. */
export interface ServerProcess {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export interface StartOptions {
  readonly endpoint: string
  /** What to start, over an empty folder; the last answers at the endpoint. */
  readonly processes: (folder: string) => Promise<readonly ServerProcess[]>
  /** Of the server's own certificate. */
  readonly ca?: string
  readonly keys?: { readonly accessKey: string; readonly secretKey: string }
}

/** Starts a server over a temporary folder, waits until it answers, and stops it by its pids when the test ends. */
export async function startS3Server(t: Teardown, { endpoint, processes, ca, keys = { accessKey, secretKey } }: StartOptions): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-s3-'))
  const output: Buffer[] = []
  const children: Child[] = []
  t.teardown(async () => {
    for (const { stop } of children.toReversed()) await stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  })
  const commands = await processes(folder)
  const runAll = (): void => {
    for (const command of commands) children.push(run(command, folder, output))
  }
  runAll()
  const { hostname, port, protocol } = new URL(endpoint)
  const client = new Client({ endPoint: hostname, port: Number(port), useSSL: protocol === 'https:', ...keys, region })
  if (ca !== undefined) client.setRequestOptions({ ca })
  const ready = () => untilReady(children, client, Number(port), () => Buffer.concat(output).toString('utf8'))
  await ready()

  let buckets = 0
  return {
    endpoint,
    account: (bucket) => ({ endpoint, bucket, region, ...keys, addressing: 'path' }),
    async makeBucket() {
      const bucket = `cairn-${process.pid}-${++buckets}`
      await client.makeBucket(bucket)
      return bucket
    },
    async contents(bucket) {
      const names: string[] = []
      for await (const { name } of client.listObjectsV2(bucket, '', true) as AsyncIterable<{ name: string }>) names.push(name)
      for await (const { key } of client.listIncompleteUploads(bucket, '', true) as AsyncIterable<{ key: string }>) names.push(`${key} (upload)`)
      return names
    },
    async kill() {
      for (const { stop } of children.splice(0).toReversed()) await stop('SIGKILL')
    },
    async start() {
      runAll()
      await ready()
    },
  }
}

interface Child {
  readonly process: ChildProcess
  stop(signal?: NodeJS.Signals): Promise<void>
}

function run({ program, args, env }: ServerProcess, folder: string, output: Buffer[]): Child {
  const child = spawn(program, args, { cwd: folder, env: { PATH: process.env['PATH'], HOME: folder, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()))
  return {
    process: child,
    async stop(signal: NodeJS.Signals = 'SIGTERM') {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await exited
      clearTimeout(timer)
    },
  }
}

/** Until it lists its buckets: an open port is not enough. */
async function untilReady(children: readonly Child[], client: Client, port: number, output: () => string): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs
  while (performance.now() < deadline) {
    const ended = children.find(({ process: { exitCode, signalCode } }) => exitCode !== null || signalCode !== null)?.process
    if (ended) throw new Error(`${ended.spawnfile} ended with ${ended.exitCode ?? ended.signalCode}\n${output()}`)
    const answers =
      (await isOpen(port)) &&
      (await client.listBuckets().then(
        () => true,
        () => false,
      ))
    if (answers) return
    await delay(100)
  }
  throw new Error(`the server did not answer in ${readyTimeoutMs} ms\n${output()}`)
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port })
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
