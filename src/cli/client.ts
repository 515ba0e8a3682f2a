import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HubError } from '../errors.js'
import type { Env } from './command.js'

/** A hub somewhere, and who we are there. */
export interface Client {
  readonly url: string
  /** Comes back with the answer's JSON. @throws HubError with the hub's own words */
  call(method: string, path: string, body?: object): Promise<Record<string, unknown>>
  /** An answer that comes as lines of JSON, one by one. @throws as `call`, and HubError `unavailable` when it breaks off */
  lines(method: string, path: string, body: object): AsyncGenerator<object>
}

/** @throws HubError `config` when there is no token to use */
export async function createClient(env: Env): Promise<Client> {
  const url = hubUrl(env)
  const token = await findToken(env)
  const ask = async (method: string, path: string, body?: object): Promise<Response> => {
    try {
      return await fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'user-agent': 'cairn-cli' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (cause) {
      throw new HubError('unavailable', `no hub answers at ${url}: is it running? CAIRN_URL says where`, { cause })
    }
  }
  return {
    url,
    async call(method, path, body) {
      const response = await ask(method, path, body)
      const text = await response.text()
      const answer = parseObject(text)
      if (response.ok && answer) return answer
      throw refusal(response, text)
    },
    async *lines(method, path, body) {
      const response = await ask(method, path, body)
      if (!response.ok || !response.body) throw refusal(response, await response.text())
      try {
        for await (const line of linesOf(response.body)) yield parseObject(line) ?? {}
      } catch (cause) {
        throw new HubError('unavailable', `the answer of ${url} broke off`, { cause })
      }
    },
  }
}

async function* linesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = ''
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    yield* lines
  }
}

/** The hub's own words, if it has any. */
function refusal({ status }: Response, text: string): HubError {
  const answer = parseObject(text)
  const said = typeof answer?.['error'] === 'string' ? answer['error'] : text.slice(0, 300).trim()
  return new HubError('bad-request', `${said || 'no reason was given'} [${status}]`)
}

/** Where the hub listens, as a client here would call it. */
export function hubUrl(env: Env): string {
  if (env['CAIRN_URL']) return env['CAIRN_URL'].replace(/\/+$/, '')
  const host = env['CAIRN_HOST'] || '127.0.0.1'
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${env['CAIRN_PORT'] || '8080'}`
}

async function findToken(env: Env): Promise<string> {
  if (env['CAIRN_TOKEN']) return env['CAIRN_TOKEN']
  const path = join(env['CAIRN_DATA'] || './cairn-data', 'admin-token')
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (cause) {
    throw new HubError('config', `there is no token: set CAIRN_TOKEN, or CAIRN_DATA to the folder of a hub that was started (looked for ${path})`, {
      cause,
    })
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
