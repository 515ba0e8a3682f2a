import { ProtocolError } from '../../protocol/errors.js'

/** Whose work it is: a repository, and whoever asked. */
export type TurnKeys = readonly string[]

interface Waiter {
  readonly keys: TurnKeys
  readonly enter: () => void
}

/**
 * How much heavy work one repository, or one caller, may have under way; the rest waits in order of arrival, so that nobody takes all the
 * threads. A client that waits is kept alive by its protocol: old git could not try again.
 */
export class Turns {
  readonly #most: number
  readonly #underWay = new Map<string, number>()
  readonly #waiters: Waiter[] = []

  /** @param most pieces of work with one key at once */
  constructor(most: number) {
    this.#most = most
  }

  /** Waiting now. */
  get waiting(): number {
    return this.#waiters.length
  }

  /** A turn at once; undefined: one of the keys has all it may have. To be given back. */
  tryTake(keys: TurnKeys): (() => void) | undefined {
    if (!this.#isFree(keys)) return undefined
    for (const key of keys) this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1)
    let given = false
    return () => {
      if (given) return
      given = true
      for (const key of keys) {
        const left = this.#underWay.get(key)! - 1
        if (left === 0) this.#underWay.delete(key)
        else this.#underWay.set(key, left)
      }
      this.#admit()
    }
  }

  /** Waits for a turn. @throws ProtocolError `cancelled` when the signal aborts first */
  async take(keys: TurnKeys, signal: AbortSignal | undefined): Promise<() => void> {
    if (signal?.aborted) throw cancelled()
    return this.tryTake(keys) ?? this.#wait(keys, signal)
  }

  #isFree(keys: TurnKeys): boolean {
    return keys.every((key) => (this.#underWay.get(key) ?? 0) < this.#most)
  }

  #wait(keys: TurnKeys, signal: AbortSignal | undefined): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        reject(cancelled())
      }
      const waiter: Waiter = {
        keys,
        enter: () => {
          signal?.removeEventListener('abort', leave)
          resolve(this.tryTake(keys)!)
        },
      }
      this.#waiters.push(waiter)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  /** Who came later may go first only where those before wait for a key of their own. */
  #admit(): void {
    for (let i = 0; i < this.#waiters.length; ) {
      const waiter = this.#waiters[i]!
      if (!this.#isFree(waiter.keys)) {
        i += 1
        continue
      }
      this.#waiters.splice(i, 1)
      waiter.enter()
    }
  }
}

const cancelled = (): ProtocolError => new ProtocolError('cancelled', 'the client left')
