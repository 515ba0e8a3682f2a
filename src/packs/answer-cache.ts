import type { AnswerCache, AnswerRecording } from '../../protocol/ports.js'
import { ownBytes } from './own-bytes.js'

export interface AnswerCacheOptions {
  /** All answers together. */
  readonly maxBytes: number
  /** A larger answer is not kept. */
  readonly maxAnswerBytes?: number
}

const defaultMaxAnswerBytes = 4 * 1024 * 1024
/** What an answer costs beside its bytes. */
const overheadBytes = 512

/**
 * Framed answers to fetches, least recently used out first. Whoever asks has been authorised and his request validated before: a key names
 * the repository, its purge epoch and everything that shapes the answer, so what is kept never becomes wrong.
 */
export class AnswerMemory {
  readonly #maxBytes: number
  readonly #maxAnswerBytes: number
  readonly #answers = new Map<string, Buffer>()
  #bytes = 0
  /** Of answers on their way out, beside those that are kept: at most as much again. */
  #recordedBytes = 0

  constructor({ maxBytes, maxAnswerBytes = defaultMaxAnswerBytes }: AnswerCacheOptions) {
    this.#maxBytes = maxBytes
    this.#maxAnswerBytes = Math.min(maxAnswerBytes, maxBytes)
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes
  }

  /** Lets go of all whose scope begins so. */
  forget(prefix: string): void {
    for (const [key, answer] of this.#answers) if (key.startsWith(prefix)) this.#drop(key, answer)
  }

  /** What stands in front of the keys, perhaps several times. */
  *scopes(): Generator<string> {
    for (const key of this.#answers.keys()) yield key.slice(0, key.indexOf('\n'))
  }

  /** The answers of one repository in one state; `scope` goes in front of every key. */
  within(scope: string): AnswerCache {
    return {
      find: (key) => this.#find(`${scope}\n${key}`),
      record: (key) => this.#record(`${scope}\n${key}`),
    }
  }

  #find(key: string): Buffer | undefined {
    const answer = this.#answers.get(key)
    if (!answer) return undefined
    this.#answers.delete(key)
    this.#answers.set(key, answer)
    return answer
  }

  #record(key: string): AnswerRecording {
    let parts: Buffer[] | undefined = []
    let bytes = 0
    const end = (): void => {
      if (parts) this.#recordedBytes -= bytes
      parts = undefined
    }
    return {
      add: (chunk) => {
        if (!parts) return
        if (bytes + chunk.length > this.#maxAnswerBytes || this.#recordedBytes + chunk.length > this.#maxBytes) {
          end()
        } else {
          bytes += chunk.length
          this.#recordedBytes += chunk.length
          parts.push(Buffer.from(chunk))
        }
      },
      keep: () => {
        if (parts && !this.#answers.has(key)) this.#keep(key, ownBytes(...parts))
        end()
      },
      end,
    }
  }

  #keep(key: string, answer: Buffer): void {
    this.#answers.set(key, answer)
    this.#bytes += costOf(key, answer)
    for (const [oldest, dropped] of this.#answers) {
      if (this.#bytes <= this.#maxBytes) return
      this.#drop(oldest, dropped)
    }
  }

  #drop(key: string, answer: Buffer): void {
    this.#answers.delete(key)
    this.#bytes -= costOf(key, answer)
  }
}

const costOf = (key: string, answer: Buffer): number => key.length * 2 + answer.length + overheadBytes
