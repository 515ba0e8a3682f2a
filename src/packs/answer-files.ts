import { createHash, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Slices, WorkOptions } from '../../protocol/ports.js'
import { KeptAnswer, type MakeAnswer } from './kept-answer.js'

export interface AnswerFilesOptions {
  /** This process's alone; made when it is needed. What lies there from before is of no use. */
  readonly directory: string
  /** All files together. 0: nothing is kept. */
  readonly maxBytes: number
  /** A larger answer is made for its client alone. */
  readonly maxAnswerBytes?: number
  /** For work that no one client waits for. */
  readonly slices: (signal: AbortSignal) => Slices
}

const defaultShare = 8

/**
 * Packs that answered clones, kept as files, least recently used out first. One that is being made is made once: whoever asks for the same reads
 * along, at his own pace, and it goes on when the first who asked has left. A key says everything that shapes an answer, so what is kept never
 * becomes wrong; whoever asks has been authorised and his request validated before.
 */
export class AnswerFiles {
  readonly #options: AnswerFilesOptions
  readonly #maxAnswerBytes: number
  /** Least recently used first. */
  readonly #kept = new Map<string, KeptAnswer>()
  #used = 0

  constructor(options: AnswerFilesOptions) {
    this.#options = options
    this.#maxAnswerBytes = options.maxAnswerBytes ?? Math.floor(options.maxBytes / defaultShare)
  }

  /** Bytes of all files. */
  get usedBytes(): number {
    return this.#used
  }

  /** Lets go of the answers whose scope begins so: who reads one reads on. */
  forget(prefix = ''): void {
    for (const answer of this.#kept.values()) if (answer.scope.startsWith(prefix)) answer.forget()
  }

  /** Perhaps several times. */
  *scopes(): Generator<string> {
    for (const { scope } of this.#kept.values()) yield scope
  }

  /** The answer under this key, made if it is not there. A chunk is valid until the next. @throws what `make` throws */
  async *answer(scope: string, key: string, make: MakeAnswer, options: WorkOptions): AsyncGenerator<Uint8Array> {
    const name = nameOf(`${scope}\n${key}`)
    const found = this.#kept.get(name)
    if (found) this.#touch(name, found)
    const answer = found ?? this.#begin(scope, name, make)
    const reader = answer.join(options)
    try {
      yield* reader.read()
    } finally {
      reader.leave()
    }
  }

  #begin(scope: string, name: string, make: MakeAnswer): KeptAnswer {
    const answer: KeptAnswer = new KeptAnswer({
      scope,
      path: join(this.#options.directory, randomUUID()),
      slices: this.#options.slices,
      grow: (from, bytes) => {
        if (from + bytes > this.#maxAnswerBytes || !this.#makeRoom(bytes)) return false
        this.#used += bytes
        return true
      },
      forget: () => {
        if (this.#kept.get(name) === answer) this.#kept.delete(name)
      },
      free: (bytes) => {
        this.#used -= bytes
      },
    })
    this.#kept.set(name, answer)
    answer.start(make)
    return answer
  }

  #makeRoom(bytes: number): boolean {
    for (const answer of this.#kept.values()) {
      if (this.#used + bytes <= this.#options.maxBytes) return true
      if (answer.isWhole) answer.forget()
    }
    return this.#used + bytes <= this.#options.maxBytes
  }

  #touch(name: string, answer: KeptAnswer): void {
    this.#kept.delete(name)
    this.#kept.set(name, answer)
  }
}

const nameOf = (key: string): string => createHash('sha256').update(key).digest('base64')
