import type { MultiAck } from './fetch-request.js'
import { lookUp } from './look-up.js'
import { oidBytes } from './oid.js'
import { dataPkt } from './pkt-line.js'
import type { FetchPort, PackView, Slices, WorkOptions } from './ports.js'
import type { Oid } from './types.js'

/** The haves that the repository has too, distinct, in the order sent. What it does not know means nothing. */
export async function findCommon(view: PackView, haves: readonly Oid[], slices: Slices): Promise<readonly Oid[]> {
  const common = new Set<Oid>()
  await lookUp(view, haves, slices, (oid, entry) => {
    if (entry !== -1) common.add(oid)
  })
  return [...common]
}

/**
 * The acknowledgments section of protocol v2, its end left open: behind `ready` a delimiter and the pack must follow, else a flush.
 *
 * Spec: gitprotocol-v2(5), "fetch", acknowledgments.
 */
export function* acknowledgments(common: readonly Oid[], ready: boolean): Generator<Buffer> {
  yield dataPkt('acknowledgments\n')
  if (common.length === 0) yield dataPkt('NAK\n')
  for (const oid of common) yield dataPkt(`ACK ${oid}\n`)
  if (ready) yield dataPkt('ready\n')
}

/**
 * Negotiation of protocol v0 and v1, a have at a time, in the words of the mode the client chose. It says what to answer and keeps what
 * both sides have; reading and writing is the caller's.
 *
 * Spec: gitprotocol-pack(5), "Packfile Negotiation"; the order of the lines is git's own.
 */
export class NegotiationV0 {
  readonly #port: FetchPort
  readonly #wants: readonly Oid[]
  readonly #mode: MultiAck
  readonly #options: WorkOptions
  readonly #common = new Set<Oid>()
  #last: Oid | undefined
  #gotCommon = false
  #gotOther = false
  #sentReady = false
  #enough = false
  /** How many haves were common when the wants were last found out of reach. */
  #asked = 0

  constructor(port: FetchPort, wants: readonly Oid[], mode: MultiAck, options: WorkOptions) {
    this.#port = port
    this.#wants = wants
    this.#mode = mode
    this.#options = options
  }

  get common(): readonly Oid[] {
    return [...this.#common]
  }

  /** The answer to one have, if it gets one. */
  async have(oid: Oid): Promise<Buffer | undefined> {
    if (this.#port.view.find(oidBytes(oid), 'read') === -1) {
      this.#gotOther = true
      if (this.#mode === 'none' || !(await this.#canStop())) return undefined
      if (this.#mode === 'multi_ack') return ack(oid, 'continue')
      this.#sentReady = true
      return ack(oid, 'ready')
    }
    const isFirst = this.#common.size === 0
    this.#common.add(oid)
    this.#last = oid
    this.#gotCommon = true
    if (this.#mode === 'multi_ack_detailed') return ack(oid, 'common')
    if (this.#mode === 'multi_ack') return ack(oid, 'continue')
    return isFirst ? ack(oid) : undefined
  }

  /** The end of a round. `ready`: a client that chose `no-done` gets its pack now. */
  async flush(): Promise<{ readonly lines: readonly Buffer[]; readonly ready: boolean }> {
    const lines: Buffer[] = []
    if (this.#mode === 'multi_ack_detailed' && this.#gotCommon && !this.#gotOther && (await this.#canStop())) {
      this.#sentReady = true
      lines.push(ack(this.#last!, 'ready'))
    }
    if (this.#mode !== 'none' || this.#common.size === 0) lines.push(dataPkt('NAK\n'))
    this.#gotCommon = false
    this.#gotOther = false
    return { lines, ready: this.#sentReady }
  }

  /** What stands before the pack. */
  done(): Buffer | undefined {
    if (this.#last === undefined) return dataPkt('NAK\n')
    return this.#mode === 'none' ? undefined : ack(this.#last)
  }

  /** Every want is within reach of what we have in common: no further have could make the pack smaller by much. */
  async #canStop(): Promise<boolean> {
    if (this.#enough || this.#common.size === this.#asked) return this.#enough
    this.#asked = this.#common.size
    this.#enough = await this.#port.reaches(this.#port.view, this.#wants, this.common, this.#options)
    return this.#enough
  }
}

function ack(oid: Oid, word?: 'common' | 'continue' | 'ready'): Buffer {
  return dataPkt(`ACK ${oid}${word ? ` ${word}` : ''}\n`)
}
