import { createHash } from 'node:crypto'
import { trailerBytes } from '../../protocol/pack/entry.js'

/** A pack in memory, as long as somebody sends it. */
export interface HeldPack {
  readonly pack: Uint8Array
  /** To be called once. */
  drop(): void
}

interface Held {
  readonly pack: Uint8Array
  holders: number
}

/** Requests that are remembered. */
const maxNone = 10_000

/**
 * The packs that go out behind those of a collection. A client may take hours for what is before them, so there is a limit to all of them together; those
 * that are the same lie there once.
 */
export class PacksBeyond {
  readonly #maxBytes: number
  readonly #held = new Map<string, Held>()
  #bytes = 0
  /** Requests that have no such pack, oldest first. */
  readonly #none = new Set<string>()

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes
  }

  /** Undefined: there is no room for it. */
  hold(pack: Uint8Array): HeldPack | undefined {
    // A pack is named by what ends it.
    const name = Buffer.from(pack.subarray(-trailerBytes)).toString('hex')
    let held = this.#held.get(name)
    if (!held) {
      if (this.#bytes + pack.length > this.#maxBytes) return undefined
      held = { pack, holders: 0 }
      this.#held.set(name, held)
      this.#bytes += pack.length
    }
    held.holders += 1
    const { pack: bytes } = held
    return { pack: bytes, drop: () => this.#drop(name, held) }
  }

  /** Whether it was found out before that a request has none. `key`: all that it depends on, of whatever length. */
  hasNone(key: string): boolean {
    return this.#none.has(nameOf(key))
  }

  noteNone(key: string): void {
    this.#none.add(nameOf(key))
    const [oldest] = this.#none
    if (this.#none.size > maxNone) this.#none.delete(oldest!)
  }

  #drop(name: string, held: Held): void {
    if (--held.holders > 0) return
    this.#held.delete(name)
    this.#bytes -= held.pack.length
  }
}

const nameOf = (key: string): string => createHash('sha256').update(key).digest('base64')
