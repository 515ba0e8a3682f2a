import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface LoadRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** With it the request is a POST. */
  readonly body?: Buffer
}

export interface Load {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const run = promisify(execFile)
export const connections = 8

/** Sends one request over and over on 8 connections, for some seconds. @throws Error when an answer was none */
export async function load({ url, headers, body }: LoadRequest, seconds: number): Promise<Load> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-wrk-'))
  try {
    const script = join(folder, 'request.lua')
    const bodyFile = join(folder, 'body')
    await writeFile(bodyFile, body ?? '')
    await writeFile(
      script,
      [
        ...(body ? ["wrk.method = 'POST'", `local f = io.open('${bodyFile}', 'rb'); wrk.body = f:read('*a'); f:close()`] : []),
        ...Object.entries(headers).map(([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`),
        'done = function(summary, latency)',
        "  io.write(string.format('RESULT %d %d %d %d %d\\n', summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),",
        '    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))',
        'end',
      ].join('\n'),
    )
    const { stdout } = await run('wrk', ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '-s', script, url])
    const [, requests, duration, p50, p99, errors] = /RESULT (\d+) (\d+) (\d+) (\d+) (\d+)/.exec(stdout)?.map(Number) ?? []
    if (!requests || !duration || errors !== 0) throw new Error(`${url}: ${errors ?? 'all'} answers failed\n${stdout}`)
    return { perSecond: requests / (duration / 1e6), p50Ms: p50! / 1000, p99Ms: p99! / 1000 }
  } finally {
    await rm(folder, { recursive: true })
  }
}
