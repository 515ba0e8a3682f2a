import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { wireLimits } from './limits.js'

/** A pkt-line as received. A payload is valid until the next call on its reader. */
export type Pkt =
  | { readonly kind: 'data'; readonly payload: Buffer }
  | { readonly kind: 'flush' }
  | { readonly kind: 'delim' }
  | { readonly kind: 'end' }

/** Longest pkt-line, its four digits included. git dies on anything longer. */
export const maxPktBytes = 65_520
export const maxPayloadBytes = maxPktBytes - 4

export const flushPkt = Buffer.from('0000')
/** Between the sections of protocol v2. */
export const delimPkt = Buffer.from('0001')

/**
 * One data pkt-line. A string is written one byte a character (latin1), as ref names are kept; text for people comes in as UTF-8 bytes.
 * @throws ProtocolError `too-large` over 65,516 bytes
 */
export function dataPkt(payload: string | Uint8Array): Buffer {
  checkPayload(payload.length)
  const pkt = Buffer.allocUnsafe(4 + payload.length)
  pkt.write(pktLength(pkt.length), 0, 'latin1')
  if (typeof payload === 'string') pkt.write(payload, 4, 'latin1')
  else pkt.set(payload, 4)
  return pkt
}

/**
 * The same as text, one character a byte: many are joined before they become bytes.
 * @throws ProtocolError `too-large` over 65,516 bytes
 */
export function textPkt(payload: string): string {
  checkPayload(payload.length)
  return pktLength(4 + payload.length) + payload
}

function checkPayload(bytes: number): void {
  if (bytes > maxPayloadBytes) throw new ProtocolError('too-large', `pkt-line payload of ${bytes} bytes is over ${maxPayloadBytes}`)
}

/** The four digits in front of a pkt-line of `length` bytes, these four included. */
export const pktLength = (length: number): string => length.toString(16).padStart(4, '0')

/** Ends a conversation: git prints `fatal: remote error: <message>`. */
export const errPkt = (message: string): Buffer => dataPkt(Buffer.from(`ERR ${humanLine(message)}\n`))

/** The payload as text, one character a byte, without the one LF that senders may or may not write. */
export function pktText(payload: Buffer): string {
  return payload.toString('latin1', 0, payload.at(-1) === 0x0a ? payload.length - 1 : payload.length)
}

/** Joins small pkt-lines into chunks of about `bytes`, so that a long list does not cost a write a line. */
export function* gather(pkts: Iterable<Buffer>, bytes = 65_536): Generator<Buffer> {
  let held: Buffer[] = []
  let size = 0
  for (const pkt of pkts) {
    held.push(pkt)
    size += pkt.length
    if (size < bytes) continue
    yield Buffer.concat(held, size)
    held = []
    size = 0
  }
  if (size > 0) yield Buffer.concat(held, size)
}

/**
 * The same for what may be long and is sent at once: chunks of up to `bytes`, in memory that is used again, so each is valid until the next.
 * A pkt-line, or what came joined already, is never cut.
 */
export function* gatherLong(pkts: Iterable<Buffer>, bytes = 65_536): Generator<Buffer> {
  let held: Buffer[] = []
  let size = 0
  let memory: Buffer | undefined
  for (const pkt of pkts) {
    if (size > 0 && size + pkt.length > bytes) {
      memory ??= Buffer.allocUnsafeSlow(bytes)
      yield joinInto(memory, held, size)
      held = []
      size = 0
    }
    held.push(pkt)
    size += pkt.length
  }
  if (size > 0) yield joinInto(memory, held, size)
}

function joinInto(memory: Buffer | undefined, parts: readonly Buffer[], size: number): Buffer {
  if (!memory || size > memory.length) return Buffer.concat(parts, size)
  let at = 0
  for (const part of parts) at += part.copy(memory, at)
  return memory.subarray(0, at)
}

export interface PktLimits {
  /** Sum of all pkt-lines that `next` may read, bytes. */
  readonly maxBytes: number
}

/**
 * Pkt-lines first, raw bytes after: a push is both. Never ends its source early (`return()` of a request body would cut the connection
 * before the answer is written): whoever owns the source does that.
 */
export interface PktReader {
  /**
   * The next pkt-line, `undefined` at the end of the input.
   * @throws ProtocolError `bad-request` for bad framing or an end within a line, `too-large` over the limit
   */
  next(): Promise<Pkt | undefined>
  /** True when at least one byte follows. */
  hasMore(): Promise<boolean>
  /** The bytes after the last pkt-line read. A chunk is valid until the next. */
  rest(): AsyncIterable<Uint8Array>
  /** Reads and forgets, up to about `maxBytes`. */
  drain(maxBytes: number): Promise<void>
  /** The source has said that it is over. */
  readonly ended: boolean
  /** Framing failed: what follows cannot be told apart, and an answer has no place. */
  readonly broken: boolean
}

export function readPkts(source: AsyncIterable<Uint8Array>, limits: PktLimits = { maxBytes: wireLimits.requestBytes }): PktReader {
  return new SourceReader(source, limits.maxBytes)
}

class SourceReader implements PktReader {
  readonly #source: AsyncIterator<Uint8Array>
  readonly #maxBytes: number
  #chunk: Buffer = Buffer.alloc(0)
  #at = 0
  #bytes = 0
  ended = false
  broken = false

  constructor(source: AsyncIterable<Uint8Array>, maxBytes: number) {
    this.#source = source[Symbol.asyncIterator]()
    this.#maxBytes = maxBytes
  }

  async next(): Promise<Pkt | undefined> {
    // Asked only when it must be: an await a line adds up over 100,000 haves.
    if (this.#left < 4 && !(await this.#has(4))) {
      if (this.#left === 0) return undefined
      throw this.#fail('bad-request', 'the request ends within the length of a pkt-line')
    }
    const length = pktLengthAt(this.#chunk, this.#at)
    if (length === undefined || length === 3 || length > maxPktBytes) {
      throw this.#fail('bad-request', `bad pkt-line length ${JSON.stringify(this.#chunk.toString('latin1', this.#at, this.#at + 4))}`)
    }
    this.#bytes += Math.max(length, 4)
    if (this.#bytes > this.#maxBytes) throw this.#fail('too-large', `the request is over ${this.#maxBytes} bytes`)
    if (length < 4) {
      this.#at += 4
      return length === 0 ? { kind: 'flush' } : length === 1 ? { kind: 'delim' } : { kind: 'end' }
    }
    if (this.#left < length && !(await this.#has(length))) throw this.#fail('bad-request', `the request ends within a pkt-line of ${length} bytes`)
    const payload = this.#chunk.subarray(this.#at + 4, this.#at + length)
    this.#at += length
    return { kind: 'data', payload }
  }

  hasMore(): Promise<boolean> {
    return this.#has(1)
  }

  async *rest(): AsyncGenerator<Uint8Array> {
    while (await this.#has(1)) {
      const chunk = this.#chunk.subarray(this.#at)
      this.#at = this.#chunk.length
      yield chunk
    }
  }

  async drain(maxBytes: number): Promise<void> {
    let left = maxBytes
    while (left > 0 && (await this.#has(1))) {
      left -= this.#left
      this.#at = this.#chunk.length
    }
  }

  get #left(): number {
    return this.#chunk.length - this.#at
  }

  #fail(code: 'bad-request' | 'too-large', message: string): ProtocolError {
    this.broken = true
    return new ProtocolError(code, message)
  }

  /** Has `count` bytes at hand, contiguous. Chunks are joined once, however small they come. */
  async #has(count: number): Promise<boolean> {
    if (this.#left >= count) return true
    // Kept across a read of the source, so copied: its chunk may be overwritten then.
    const parts: Buffer[] = this.#left > 0 ? [Buffer.from(this.#chunk.subarray(this.#at))] : []
    let size = this.#left
    while (size < count && !this.ended) {
      const { done, value } = await this.#source.next()
      if (done) {
        this.ended = true
        break
      }
      if (value.length === 0) continue
      size += value.length
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
      parts.push(size < count ? Buffer.from(bytes) : bytes)
    }
    this.#chunk = parts.length === 1 ? parts[0]! : Buffer.concat(parts, size)
    this.#at = 0
    return size >= count
  }
}

/** The length that four hex digits of either case at `at` say, these four included; `undefined` when they are not. */
export function pktLengthAt(bytes: Buffer, at: number): number | undefined {
  let length = 0
  for (let i = at; i < at + 4; i++) {
    const digit = hexDigit(bytes[i]!)
    if (digit < 0) return undefined
    length = length * 16 + digit
  }
  return length
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
