import { createHash } from 'node:crypto'
import { abortable } from './abortable.js'
import { bufferBody, type S3Body } from './s3-body.js'

/** A body up to this is gathered without asking for room. */
const freeBytes = 256 * 1024

/** Room for bodies whose size is not known before they end: they are in memory until they are stored. */
export class BufferBudget {
  #free: number
  readonly #waiting: (() => void)[] = []

  /** @param slots how many parts may be in memory at once */
  constructor(slots: number) {
    this.#free = slots
  }

  /** Comes back when there is room, first come first served, with what gives it back. */
  async take(signal: AbortSignal | undefined): Promise<() => void> {
    if (this.#free > 0) this.#free--
    else await this.#wait(signal)
    let given = false
    return () => {
      if (given) return
      given = true
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        reject(signal!.reason as Error)
      }
      this.#waiting.push(enter)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

export interface Gathered {
  /** What has come so far: `partBytes`, or all there was. Valid until `next` or `leave`. */
  readonly body: S3Body
  /** There is no more. */
  readonly ended: boolean
  /** The following part. */
  next(): Promise<Gathered>
  /** Gives back the memory and lets go of the source. */
  leave(): Promise<void>
}

interface GatherOptions {
  readonly partBytes: number
  readonly budget: BufferBudget
  readonly signal: AbortSignal | undefined
}

/** Reads a source part by part, one in memory at a time. @throws whatever the source throws; the signal's reason. Nothing is held then */
export async function gather(source: AsyncIterable<Uint8Array>, { partBytes, budget, signal }: GatherOptions): Promise<Gathered> {
  const iterator = abortable(source, signal)
  let free = (): void => undefined
  let buffer = Buffer.alloc(0)
  /** The rest of a chunk that did not fit. It stays valid: the source is asked for no other before it is used up. */
  let rest: Uint8Array = Buffer.alloc(0)

  const leave = async (): Promise<void> => {
    buffer = Buffer.alloc(0)
    free()
    await iterator.return(undefined)
  }
  /** Room for what is there and at least one more byte. */
  const grow = async (filled: number): Promise<void> => {
    if (buffer.length === 0) buffer = Buffer.allocUnsafeSlow(Math.min(freeBytes, partBytes))
    if (filled < buffer.length) return
    if (buffer.length === Math.min(freeBytes, partBytes)) free = await budget.take(signal)
    const larger = Buffer.allocUnsafeSlow(Math.min(partBytes, buffer.length * 4))
    buffer.copy(larger, 0, 0, filled)
    buffer = larger
  }
  const fill = async (): Promise<Gathered> => {
    const hash = createHash('sha256')
    let filled = 0
    let ended = false
    let chunk = rest
    for (;;) {
      while (chunk.length > 0 && filled < partBytes) {
        await grow(filled)
        const piece = chunk.subarray(0, buffer.length - filled)
        buffer.set(piece, filled)
        hash.update(piece)
        filled += piece.length
        chunk = chunk.subarray(piece.length)
      }
      if (chunk.length > 0) break
      const next = await iterator.next()
      if (next.done) {
        ended = true
        break
      }
      chunk = next.value
    }
    rest = chunk
    signal?.throwIfAborted()
    return { body: bufferBody(buffer.subarray(0, filled), hash.digest('hex')), ended, next: guarded, leave }
  }
  const guarded = async (): Promise<Gathered> => {
    try {
      return await fill()
    } catch (error) {
      await leave()
      throw error
    }
  }
  return guarded()
}
