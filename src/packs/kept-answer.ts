import { mkdir, open, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ProtocolError } from '../../protocol/errors.js'
import type { Progress, Slices, WorkOptions } from '../../protocol/ports.js'
import { HubError, whenDiskFull } from '../errors.js'
import { untilClientLeft } from './room-queue.js'

/** A pack in the making. `release` is called once, when nothing more is taken: what it needs may be let go. */
export interface AnswerInTheMaking {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly release: () => void
  /** Called after that when all of it is there. The answer can be read until it comes back. Must not throw. */
  readonly keep?: (answer: WholeAnswer) => Promise<void>
}

export interface WholeAnswer {
  readonly bytes: number
  /** From the first byte; again if need be. A chunk is valid until the next. */
  readonly read: () => AsyncIterable<Uint8Array>
}

/** Begins to make a pack. Called at once or not at all. */
export type MakeAnswer = (options: WorkOptions) => AnswerInTheMaking

const chunkBytes = 256 * 1024

export interface AnswerHooks {
  readonly scope: string
  readonly path: string
  readonly slices: (signal: AbortSignal) => Slices
  /** Room for so many bytes behind the first `from`. False: there is none, or it would be too large. */
  readonly grow: (from: number, bytes: number) => boolean
  readonly forget: () => void
  readonly free: (bytes: number) => void
}

interface Reader {
  readonly onProgress: WorkOptions['onProgress']
}

/**
 * One answer: a file that grows, and those who read it. The file has no name: it lives as long as it is open. When it must not grow any more nobody
 * else joins, and its bytes go from hand to hand as soon as one reader is left.
 */
export class KeptAnswer {
  bytes = 0
  isWhole = false
  readonly #hooks: AnswerHooks
  readonly #readers = new Set<Reader>()
  readonly #leaving = new AbortController()
  #file: FileHandle | undefined
  /** What is counted of the file. */
  #counted = 0
  #forgotten = false
  /** Behind what the file has: the one reader takes it before there is more. */
  #handed: Uint8Array | undefined
  #handing = false
  #ended = false
  #error: unknown
  #news = Promise.withResolvers<void>()
  #taken = Promise.withResolvers<void>()

  constructor(hooks: AnswerHooks) {
    this.#hooks = hooks
  }

  get scope(): string {
    return this.#hooks.scope
  }

  start(make: MakeAnswer): void {
    const onProgress = (progress: Progress) => {
      for (const reader of this.#readers) reader.onProgress?.(progress)
    }
    void this.#make(make({ slices: this.#hooks.slices(this.#leaving.signal), onProgress }))
  }

  join({ onProgress, slices }: WorkOptions): { read(): AsyncGenerator<Uint8Array>; leave(): void } {
    const reader: Reader = { onProgress }
    this.#readers.add(reader)
    return { read: () => this.#read(slices), leave: () => this.#leave(reader) }
  }

  /** Gone for who comes; who reads it reads on. */
  forget(): void {
    if (this.#forgotten) return
    this.#forgotten = true
    this.#hooks.forget()
    this.#hooks.free(this.#counted)
    this.#counted = 0
    this.#closeWhenUnread()
  }

  async #make({ chunks, release, keep }: AnswerInTheMaking): Promise<void> {
    try {
      await this.#open()
      for await (const chunk of chunks) await this.#take(chunk)
      this.isWhole = !this.#forgotten
    } catch (error) {
      this.#error = error
    } finally {
      release()
    }
    this.#ended = true
    if (!this.isWhole) this.forget()
    else if (keep) void this.#offer(keep)
    this.#tell()
    this.#closeWhenUnread()
  }

  async #offer(keep: NonNullable<AnswerInTheMaking['keep']>): Promise<void> {
    const reader: Reader = { onProgress: undefined }
    this.#readers.add(reader)
    const slices = this.#hooks.slices(this.#leaving.signal)
    await keep({ bytes: this.bytes, read: () => this.#read(slices) })
    this.#leave(reader)
  }

  async #open(): Promise<void> {
    const { path } = this.#hooks
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    this.#file = await open(path, 'wx+', 0o600)
    await rm(path)
  }

  async #take(chunk: Uint8Array): Promise<void> {
    if (!this.#forgotten) {
      if (this.#hooks.grow(this.bytes, chunk.length)) this.#counted += chunk.length
      else this.forget()
    }
    this.#handing ||= this.#forgotten && this.#readers.size === 1
    const written = this.#handing ? 0 : await this.#write(chunk)
    if (written < chunk.length) await this.#hand(chunk.subarray(written))
  }

  /** How much of it: all, unless the disk is full. What others may read is counted once it is written. */
  async #write(chunk: Uint8Array): Promise<number> {
    let done = 0
    try {
      while (done < chunk.length) {
        const { bytesWritten } = await this.#file!.write(chunk, done, chunk.length - done, this.bytes)
        done += bytesWritten
        this.bytes += bytesWritten
        this.#tell()
      }
    } catch (error) {
      this.forget()
      const full = whenDiskFull(error, 'the disk has no room for an answer that several wait for')
      if (!(full instanceof HubError) || this.#readers.size > 1) throw full
      this.#handing = true
    }
    return done
  }

  async #hand(chunk: Uint8Array): Promise<void> {
    this.#handed = chunk
    this.#tell()
    await this.#taken.promise
  }

  async *#read(slices: Slices): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.allocUnsafeSlow(this.isWhole ? Math.min(chunkBytes, this.bytes) : chunkBytes)
    for (let at = 0; ; ) {
      const pause = slices.pause()
      if (pause) await pause
      const news = this.#news.promise
      if (at < this.bytes) {
        const { bytesRead } = await this.#file!.read(buffer, 0, Math.min(buffer.length, this.bytes - at), at)
        if (bytesRead === 0) throw new ProtocolError('corrupt', 'a kept answer is cut off')
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      } else if (this.#handed) {
        yield this.#handed
        this.#handed = undefined
        const { resolve } = this.#taken
        this.#taken = Promise.withResolvers<void>()
        resolve()
      } else if (this.#error !== undefined) {
        throw this.#error
      } else if (this.#ended) {
        return
      } else {
        await untilClientLeft(news, slices.signal)
      }
    }
  }

  #leave(reader: Reader): void {
    this.#readers.delete(reader)
    if (this.#readers.size > 0) return
    if (!this.#ended) {
      // Nobody waits for it any more.
      this.forget()
      this.#leaving.abort()
      this.#taken.resolve()
    }
    this.#closeWhenUnread()
  }

  #closeWhenUnread(): void {
    if (!this.#forgotten || !this.#ended || this.#readers.size > 0) return
    const file = this.#file
    this.#file = undefined
    void file?.close()
  }

  #tell(): void {
    const { resolve } = this.#news
    this.#news = Promise.withResolvers<void>()
    resolve()
  }
}
