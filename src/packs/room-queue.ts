import { ProtocolError } from '../../protocol/errors.js'

interface Waiter<Wanted, Room> {
  readonly wanted: Wanted
  readonly enter: (room: Room) => void
  readonly refuse: (error: unknown) => void
}

export interface WaitOptions {
  readonly signal: AbortSignal | undefined
  readonly maxWaitMs: number
  /** What is thrown once that is over. */
  readonly tooLate: () => Error
}

/** Who waits for room, in order of arrival. */
export class RoomQueue<Wanted, Room> {
  readonly #tryEnter: (wanted: Wanted) => Room | undefined
  readonly #waiters: Waiter<Wanted, Room>[] = []

  /** `tryEnter` takes the room, or answers undefined when there is none now. */
  constructor(tryEnter: (wanted: Wanted) => Room | undefined) {
    this.#tryEnter = tryEnter
  }

  get isEmpty(): boolean {
    return this.#waiters.length === 0
  }

  /** @throws what `tryEnter` throws, `tooLate`, ProtocolError `cancelled` once the signal aborts */
  async wait(wanted: Wanted, { signal, maxWaitMs, tooLate }: WaitOptions): Promise<Room> {
    const { promise, resolve, reject } = Promise.withResolvers<Room>()
    const waiter: Waiter<Wanted, Room> = { wanted, enter: resolve, refuse: reject }
    const refuse = (error: Error): void => {
      const at = this.#waiters.indexOf(waiter)
      if (at === -1) return
      this.#waiters.splice(at, 1)
      reject(error)
      this.admit()
    }
    const onAbort = (): void => refuse(clientLeft())
    const timer = setTimeout(() => refuse(tooLate()), maxWaitMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#waiters.push(waiter)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Lets in who can enter now. To be called when there is more room. */
  admit(): void {
    for (let first = this.#waiters[0]; first; first = this.#waiters[0]) {
      try {
        const room = this.#tryEnter(first.wanted)
        if (room === undefined) return
        this.#waiters.shift()
        first.enter(room)
      } catch (error) {
        this.#waiters.shift()
        first.refuse(error)
      }
    }
  }
}

export const clientLeft = (): ProtocolError => new ProtocolError('cancelled', 'the client left')

/** The same promise, until the signal aborts. @throws ProtocolError `cancelled` */
export async function untilClientLeft<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  const { promise: left, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(clientLeft())
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([promise, left])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
