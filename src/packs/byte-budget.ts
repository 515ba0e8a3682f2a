import { ProtocolError } from '../../protocol/errors.js'

interface Waiter {
  readonly bytes: number
  readonly enter: () => void
}

/**
 * Memory that several pieces of work share. Each reserves what it needs once, whole, before it starts, in order of arrival, and never asks
 * for more: so nobody waits for somebody who waits.
 */
export class ByteBudget {
  readonly #total: number
  readonly #waiters: Waiter[] = []
  #used = 0

  constructor(totalBytes: number) {
    this.#total = totalBytes
  }

  get usedBytes(): number {
    return this.#used
  }

  /**
   * Waits for room; comes back with how to give it up. Who needs more than there is at all gets all of it, alone.
   * @throws ProtocolError `cancelled` when the signal aborts first
   */
  async reserve(bytes: number, signal: AbortSignal): Promise<() => void> {
    const wanted = Math.min(bytes, this.#total)
    if (signal.aborted) throw new ProtocolError('cancelled', 'the client left')
    if (this.#waiters.length > 0 || this.#used + wanted > this.#total) await this.#wait(wanted, signal)
    else this.#used += wanted
    return this.#giver(wanted)
  }

  /** The same at once; undefined: there is no room now, or others came first. */
  tryReserve(bytes: number): (() => void) | undefined {
    const wanted = Math.min(bytes, this.#total)
    if (this.#waiters.length > 0 || this.#used + wanted > this.#total) return undefined
    this.#used += wanted
    return this.#giver(wanted)
  }

  #giver(bytes: number): () => void {
    let given = false
    return () => {
      if (given) return
      given = true
      this.#used -= bytes
      this.#admit()
    }
  }

  #wait(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        const at = this.#waiters.indexOf(waiter)
        if (at === -1) return
        this.#waiters.splice(at, 1)
        reject(new ProtocolError('cancelled', 'the client left'))
        this.#admit()
      }
      const waiter: Waiter = {
        bytes,
        enter: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      this.#waiters.push(waiter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  #admit(): void {
    for (let next = this.#waiters[0]; next && this.#used + next.bytes <= this.#total; next = this.#waiters[0]) {
      this.#waiters.shift()
      this.#used += next.bytes
      next.enter()
    }
  }
}
