import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../../config/config.js'
import { chain, Fault, look, Skipped, type Finding } from './finding.js'

/** What the hub saw of a request: the answer of `POST /api/cairn/doctor`. */
export interface SeenRequest {
  /** Of the process that answered. */
  readonly hubId: string
  readonly baseUrl: string
  /** Whom the hub takes for the client, and who is connected to it. */
  readonly clientAddress: string
  readonly peerAddress: string
  readonly peerIsTrusted: boolean
  readonly forwardedFor: string | null
  readonly forwardedProto: string | null
  readonly bytes: number
  /** Between the first bytes of the body and the last. */
  readonly bodyMs: number
}

export interface AddressOptions {
  readonly config: Pick<Config, 'publicUrl' | 'trustedProxies'>
  readonly token: string
}

const timeoutMs = 15_000
/** More than the 1 MiB that nginx passes on where nothing else is said. */
const bodyBytes = 2 * 1024 * 1024
/** The body comes in two halves, so far apart. */
const pauseMs = 400

/** The public address as a client uses it: through whatever stands in front of the hub. */
export async function* checkAddress({ config, token }: AddressOptions): AsyncGenerator<Finding> {
  const { publicUrl } = config
  const reached = await look('address: reached', ['CAIRN_PUBLIC_URL'], async () => {
    if (publicUrl === undefined) throw new Skipped('CAIRN_PUBLIC_URL is not set: links are made from the address each client used')
    const response = await get(`${publicUrl}/healthz`)
    const body = await response.text()
    if (!response.ok || !body.includes('"status":"ok"'))
      throw new Fault(`${publicUrl}/healthz answers ${response.status}, and not as a hub does: is the path right?`, ['CAIRN_PUBLIC_URL', 'the proxy'])
    return `${publicUrl} leads to a hub`
  })
  yield reached
  if (reached.state !== 'ok' || publicUrl === undefined) return
  const seen: { request?: SeenRequest } = {}
  yield look('address: body', ['the proxy'], async () => {
    seen.request = await sendBody(`${publicUrl}/api/cairn/doctor`, token)
    if (seen.request.bytes !== bodyBytes) throw new Fault(`of ${bodyBytes} bytes ${seen.request.bytes} arrived`, ['the proxy'])
    if (seen.request.bodyMs < pauseMs / 2)
      throw new Fault(
        'what stands in front gathers a whole request before it passes it on: large pushes wait and fill its disk (nginx: proxy_request_buffering off)',
        ['the proxy'],
      )
    return `${bodyBytes} bytes pass as they come`
  })
  yield look('address: proxy headers', ['CAIRN_TRUSTED_PROXIES', 'the proxy'], async () => {
    if (!seen.request) throw new Skipped('the hub did not say what it sees')
    return checkHeaders(publicUrl, seen.request)
  })
}

function checkHeaders(publicUrl: string, { clientAddress, peerAddress, peerIsTrusted, forwardedFor, forwardedProto, baseUrl }: SeenRequest): string {
  if (baseUrl !== publicUrl) throw new Fault(`the hub that answers has another CAIRN_PUBLIC_URL: ${baseUrl}`, ['CAIRN_PUBLIC_URL'])
  if (forwardedFor === null) {
    if (publicUrl.startsWith('https://')) throw new Fault('what ends TLS in front of the hub sends no X-Forwarded-For', ['the proxy'])
    return `no proxy in between, we come from ${clientAddress}`
  }
  if (!peerIsTrusted)
    throw new Fault(`${peerAddress} says whom it speaks for, and is not trusted: every client looks like ${peerAddress}`, ['CAIRN_TRUSTED_PROXIES'])
  if (publicUrl.startsWith('https://') && forwardedProto !== 'https') throw new Fault('X-Forwarded-Proto is not https', ['the proxy'])
  return `${peerAddress} is trusted, we come from ${clientAddress}`
}

async function get(url: string): Promise<Response> {
  try {
    return await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' })
  } catch (error) {
    throw new Fault(`${new URL(url).origin} does not answer: ${chain(error).at(-1)?.message}`, ['CAIRN_PUBLIC_URL', 'the proxy'])
  }
}

async function sendBody(url: string, token: string): Promise<SeenRequest> {
  const halves = (async function* () {
    yield Buffer.alloc(bodyBytes / 2)
    await delay(pauseMs)
    yield Buffer.alloc(bodyBytes / 2)
  })()
  const response = await fetch(url, {
    method: 'POST',
    body: halves,
    duplex: 'half',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
    signal: AbortSignal.timeout(timeoutMs),
  } as unknown as RequestInit)
  if (response.status === 413)
    throw new Fault(`a body of ${bodyBytes} bytes is too large for what stands in front (nginx: client_max_body_size 0)`, ['the proxy'])
  if (response.status === 401 || response.status === 403)
    throw new Fault(`the hub there does not take our token (${response.status}): it is another hub, or CAIRN_ADMIN_TOKEN differs`, [
      'CAIRN_PUBLIC_URL',
      'CAIRN_ADMIN_TOKEN',
    ])
  if (!response.ok) throw new Fault(`the hub answered ${response.status}`, ['the proxy', 'CAIRN_PUBLIC_URL'])
  return (await response.json()) as SeenRequest
}
