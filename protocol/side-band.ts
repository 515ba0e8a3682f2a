import { humanLine } from './human-text.js'
import { pktLength } from './pkt-line.js'

/** What the first payload byte says: data of the answer, text for the person, or the reason everything ends here. */
export const bands = { data: 1, progress: 2, fatal: 3 } as const
export type Band = (typeof bands)[keyof typeof bands]

/** Longest pkt-line of each kind of side-band, its length digits and band byte included. */
export const sideBandBytes = { 'side-band': 1000, 'side-band-64k': 65_520 } as const
export type SideBandBytes = (typeof sideBandBytes)[keyof typeof sideBandBytes]

/** An empty data packet: keeps proxies and people from believing that we died. */
export const keepalivePkt = Buffer.from('0005\x01')

/** The same while an answer that goes on bands from its first line has not come to its data. */
export const earlyKeepalivePkt = Buffer.from('0005\x02')

/** `bytes` on one band, in as many packets as it takes, in one buffer. */
export function bandPkts(band: Band, bytes: Uint8Array, maxBytes: SideBandBytes = 65_520): Buffer {
  const room = maxBytes - 5
  const wire = Buffer.allocUnsafe(bytes.length + 5 * Math.ceil(bytes.length / room))
  let to = 0
  for (let from = 0; from < bytes.length; from += room) {
    const part = bytes.subarray(from, from + room)
    wire.write(pktLength(part.length + 5), to, 'latin1')
    wire[to + 4] = band
    wire.set(part, to + 5)
    to += 5 + part.length
  }
  return wire
}

/** One line for the person, as git prints behind `remote: `. */
export const messagePkt = (text: string): Buffer => bandPkts(bands.progress, Buffer.from(`${humanLine(text)}\n`), 65_520)

/** Ends the answer: git prints the line and stops. Cut to fit the small side-band too. */
export const fatalPkt = (text: string): Buffer => bandPkts(bands.fatal, Buffer.from(`${humanLine(text)}\n`).subarray(0, 900))

/** The first are shorter: most answers need no more. */
const firstBytes = 65_520
const firstBuffers = 2
/** Senders copy what is smaller, to have two on their way. */
const laterBytes = 5 * 65_520

/** Packs a stream into data packets, as full as they may be, one buffer of 64 KiB at a time, and of 320 KiB once it is long. */
export class BandWriter {
  readonly #maxBytes: SideBandBytes
  #buffer = Buffer.alloc(0)
  #handed = 0
  #packet = 0
  #at = 5

  constructor(maxBytes: SideBandBytes) {
    this.#maxBytes = maxBytes
  }

  /** Takes `chunk` in; yields each buffer that it fills. A yielded buffer is valid until the next is asked for. */
  *write(chunk: Uint8Array): Generator<Buffer> {
    for (let from = 0; from < chunk.length; ) {
      const room = Math.min(this.#packet + this.#maxBytes, this.#size) - this.#at
      const part = chunk.subarray(from, from + room)
      this.#ready().set(part, this.#at)
      this.#at += part.length
      from += part.length
      if (part.length < room) return
      this.#closePacket()
      if (this.#packet + this.#maxBytes > this.#size) yield this.#hand()
    }
  }

  /** What is held and not yet yielded. */
  flush(): Buffer | undefined {
    if (this.#at > this.#packet + 5) this.#closePacket()
    return this.#packet > 0 ? this.#hand() : undefined
  }

  get #size(): number {
    return this.#handed < firstBuffers ? firstBytes : laterBytes
  }

  #ready(): Buffer {
    if (this.#buffer.length < this.#size) this.#buffer = Buffer.allocUnsafeSlow(this.#size)
    return this.#buffer
  }

  #closePacket(): void {
    const buffer = this.#buffer
    buffer.write(pktLength(this.#at - this.#packet), this.#packet, 'latin1')
    buffer[this.#packet + 4] = bands.data
    this.#packet = this.#at
    this.#at += 5
  }

  #hand(): Buffer {
    const full = this.#buffer.subarray(0, this.#packet)
    this.#handed += 1
    this.#packet = 0
    this.#at = 5
    return full
  }
}
