import type { LookupFunction } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { getCACertificates } from 'node:tls'
import { Agent, request as sendRequest, type Dispatcher } from 'undici'
import { HubError } from '../errors.js'
import type { S3Body } from './s3-body.js'
import { failureOf, isPassing, type S3Failure } from './s3-errors.js'
import type { RequestToSign, S3Signer } from './s3-signer.js'
import { findErrorCode } from './s3-xml.js'

export interface S3Request extends RequestToSign {
  readonly body?: S3Body
  readonly signal?: AbortSignal | undefined
  /** The store works for long before it answers: copies, putting parts together. */
  readonly slow?: boolean
  /** Statuses and codes that the caller knows what to do with. */
  readonly expect?: readonly (number | string)[]
}

export interface S3Answer extends S3Failure {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** An attempt before this one ended without an answer, and may have worked. */
  readonly doubtful: boolean
}

export interface S3TransportOptions {
  readonly signer: S3Signer
  /** Certificates, in PEM, that are believed beside the usual ones. */
  readonly ca?: string | undefined
  /** In place of the system's resolver. */
  readonly lookup?: LookupFunction | undefined
  readonly connections?: number
  readonly attempts?: number
  readonly timeouts?: Partial<S3Timeouts>
}

export interface S3Timeouts {
  readonly connectMs: number
  /** From the last byte sent to the first of the answer, and while the store takes no bytes. */
  readonly answerMs: number
  /** The same for requests that are slow. */
  readonly slowAnswerMs: number
  /** Between two pieces of an answer. */
  readonly idleMs: number
}

const defaultTimeouts: S3Timeouts = { connectMs: 10_000, answerMs: 60_000, slowAnswerMs: 15 * 60_000, idleMs: 60_000 }
const defaultConnections = 128
const defaultAttempts = 5
const firstPauseMs = 100
const longestPauseMs = 5_000
/** A page of a list of 1,000 parts or keys is well below. */
const maxAnswerBytes = 8 * 2 ** 20

/** Sends signed requests, and sends them again where that is safe. */
export class S3Transport {
  readonly #signer: S3Signer
  readonly #agent: Agent
  /** Of bodies that clients take as slowly as they like: nothing else waits for those. */
  readonly #readers: Agent
  readonly #attempts: number
  readonly #timeouts: S3Timeouts

  constructor({ signer, ca, lookup, connections = defaultConnections, attempts = defaultAttempts, timeouts }: S3TransportOptions) {
    this.#signer = signer
    this.#attempts = attempts
    this.#timeouts = { ...defaultTimeouts, ...timeouts }
    const agent = () =>
      new Agent({
        connections,
        allowH2: false,
        bodyTimeout: this.#timeouts.idleMs,
        connect: {
          timeout: this.#timeouts.connectMs,
          ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
          ...(lookup ? { lookup } : {}),
        },
      })
    this.#agent = agent()
    this.#readers = agent()
  }

  /**
   * The whole answer, which is small. A failure that `expect` names comes back too.
   * @throws HubError `unavailable`, `corrupt` where the bytes were not those that were announced, `storage-full`; the signal's reason;
   *   whatever the body throws
   */
  async send(request: S3Request): Promise<S3Answer> {
    return this.#repeat(request, async (response, doubtful) => {
      const text = await readText(response.body)
      const code = findErrorCode(text) ?? ''
      // Stores that worked for long have said 200 before they failed.
      const status = code !== '' && response.statusCode < 300 ? 500 : response.statusCode
      return { status, code, headers: response.headers, text, doubtful }
    })
  }

  /** The same, for an answer whose body is the caller's to read or to destroy. Failures come with an empty one. */
  async open(request: S3Request): Promise<S3Failure & Pick<Dispatcher.ResponseData, 'headers' | 'body'>> {
    return this.#repeat(
      request,
      async ({ statusCode: status, headers, body }) => {
        if (status < 300) return { status, code: '', headers, body }
        return { status, code: findErrorCode(await readText(body)) ?? '', headers, body }
      },
      this.#readers,
    )
  }

  /** A pause before the next attempt: at random, so that those who were refused together do not come back together. */
  async pause(attempt: number, signal: AbortSignal | undefined): Promise<void> {
    const longest = Math.min(longestPauseMs, firstPauseMs * 2 ** (attempt - 1))
    await delay(longest / 2 + (Math.random() * longest) / 2, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted())
  }

  /** Ends requests that are under way. */
  async close(): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#readers.destroy()])
  }

  async #repeat<Answer extends S3Failure>(
    request: S3Request,
    read: (response: Dispatcher.ResponseData, doubtful: boolean) => Promise<Answer>,
    agent: Agent = this.#agent,
  ): Promise<Answer> {
    const { signal, body, expect = [] } = request
    const name = nameOf(request)
    let doubtful = false
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted()
      const last = attempt >= this.#attempts || body?.replayable === false
      const source: SourceError = {}
      let answer: Answer
      try {
        answer = await read(await this.#sendOnce(request, source, agent), doubtful)
      } catch (error) {
        signal?.throwIfAborted()
        if (source.error !== undefined) throw source.error
        if (last) {
          throw error instanceof HubError ? error : new HubError('unavailable', `the store did not answer ${name}${codeOf(error)}`, { cause: error })
        }
        doubtful ||= !wasNotSent(error)
        await this.pause(attempt, signal)
        continue
      }
      if (source.error !== undefined) throw source.error
      if (answer.status < 300 || expect.includes(answer.status) || expect.includes(answer.code)) return answer
      if (last || !isPassing(answer)) throw failureOf(name, answer)
      doubtful ||= answer.status >= 500 && answer.status !== 503
      await this.pause(attempt, signal)
    }
  }

  async #sendOnce(request: S3Request, source: SourceError, agent: Agent): Promise<Dispatcher.ResponseData> {
    const { body, signal, slow = false } = request
    const { url, headers } = this.#signer.sign(request, body ? (body.sha256 ?? 'UNSIGNED-PAYLOAD') : emptySha256)
    const opened = body && body.bytes > 0 ? body.open() : null
    return sendRequest(url, {
      dispatcher: agent,
      method: request.method as Dispatcher.HttpMethod,
      headers: { ...headers, ...(body ? { 'content-length': String(body.bytes) } : {}) },
      body:
        opened === null || opened instanceof Uint8Array
          ? opened
          : (watched(opened, source) as unknown as Dispatcher.DispatchOptions['body'] & object),
      headersTimeout: slow ? this.#timeouts.slowAnswerMs : this.#timeouts.answerMs,
      // undici would close the connection after HEAD.
      reset: false,
      ...(signal ? { signal } : {}),
    })
  }
}

const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

interface SourceError {
  error?: unknown
}

/** Tells the source's own error from what the connection makes of it. */
async function* watched(bytes: AsyncIterable<Uint8Array>, source: SourceError): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      const next = await iterator.next().catch((error: unknown) => {
        source.error = error
        ended = true
        throw error
      })
      if (next.done) {
        ended = true
        return
      }
      yield next.value
    }
  } finally {
    if (!ended) await iterator.return?.()
  }
}

async function readText(body: AsyncIterable<Uint8Array> & { destroy(): unknown }): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > maxAnswerBytes) throw new HubError('unavailable', `the store's answer is over ${maxAnswerBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Without its query: that may be long, and of no interest. */
const nameOf = ({ method, key, query = {} }: S3Request): string => [method, key ?? 'the bucket', ...Object.keys(query).slice(0, 1)].join(' ')

const notSent = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])
const wasNotSent = (error: unknown): boolean => notSent.has((error as NodeJS.ErrnoException | null)?.code ?? '')
const codeOf = (error: unknown): string => {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return code === undefined ? '' : `: ${code}`
}
