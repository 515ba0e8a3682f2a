import { open, type FileHandle } from 'node:fs/promises'

/** A file read by range. */
export interface GrowingFile {
  read(from: number, to: number): Promise<Uint8Array>
  close(): Promise<void>
}

/** Who counts the files that are open. */
export interface OpenFiles {
  touchFile(file: FileSlot): void
  removeFile(file: FileSlot): void
}

/** A file that is opened when somebody reads, and may be closed whenever nobody does. */
export class FileSlot implements GrowingFile {
  readonly #files: OpenFiles
  readonly #path: string
  #handle: Promise<FileHandle> | undefined
  busy = 0

  constructor(files: OpenFiles, path: string) {
    this.#files = files
    this.#path = path
  }

  async read(from: number, to: number): Promise<Uint8Array> {
    const buffer = Buffer.allocUnsafeSlow(to - from)
    await this.readInto(from, buffer)
    return buffer
  }

  /** Fills the buffer with what is there from byte `from` on. @throws when the file ends before that, and whatever reading throws */
  async readInto(from: number, buffer: Uint8Array): Promise<void> {
    this.busy++
    try {
      this.#handle ??= open(this.#path, 'r')
      this.#files.touchFile(this)
      let done = 0
      const handle = await this.#handle
      while (done < buffer.length) {
        const { bytesRead } = await handle.read(buffer, done, buffer.length - done, from + done)
        if (bytesRead === 0) throw new Error(`the file ends at ${from + done}`)
        done += bytesRead
      }
    } catch (error) {
      this.rest()
      throw error
    } finally {
      this.busy--
      if (this.busy === 0 && (this.#resting || this.#ended)) this.rest()
    }
  }

  #resting = false
  #ended: PromiseWithResolvers<void> | undefined

  /**
   * For good, after the last read under way; resolves then. A read that goes on in steps may come once more, and must not leave the file open
   * behind it.
   */
  close(): Promise<void> {
    this.#ended ??= Promise.withResolvers()
    this.rest()
    return this.#ended.promise
  }

  /** It may be read again after all. */
  reopen(): void {
    this.#ended = undefined
  }

  /** Closes now, or after the last read under way. The next read opens it again. */
  rest(): void {
    if (this.busy > 0) {
      this.#resting = true
      return
    }
    this.#resting = false
    this.#files.removeFile(this)
    const handle = this.#handle
    this.#handle = undefined
    // A file opened for reading has nothing to lose when closing fails.
    const closed = handle ? handle.then((opened) => opened.close()).catch(() => {}) : Promise.resolve()
    const ended = this.#ended
    if (ended) void closed.then(ended.resolve)
  }
}
