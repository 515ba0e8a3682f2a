import { open, type FileHandle } from 'node:fs/promises'
import { HubError } from '../errors.js'
import type { ByteRange } from './blob-store.js'

const chunkBytes = 256 * 1024

export interface FileChunkOptions {
  /** For complaints. */
  readonly name: string
  readonly signal?: AbortSignal | undefined
}

/**
 * A range of a file in chunks of 256 KiB, from two buffers: one is filled while the other is out. So a chunk is valid until the next is
 * asked for. The file is open from the first chunk on until the end, or `return`.
 * @throws HubError `corrupt` when the file is gone or ends early; the signal's reason
 */
export async function* readFileChunks(path: string, { from, to }: ByteRange, { name, signal }: FileChunkOptions): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted()
  const handle = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw cause.code === 'ENOENT' ? new HubError('corrupt', `${name} is not in the store`, { cause }) : cause
  })
  let reading: Promise<Uint8Array> | undefined
  try {
    const size = Math.min(chunkBytes, to - from)
    const buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(to - from > size ? size : 0)] as const
    let turn: 0 | 1 = 0
    let at = from
    const readNext = (): Promise<Uint8Array> | undefined => {
      if (at === to) return undefined
      const chunk = buffers[turn].subarray(0, Math.min(size, to - at))
      const next = readFully(handle, chunk, at, name)
      next.catch(() => undefined) // it is awaited when the chunk is wanted
      turn = turn === 0 ? 1 : 0
      at += chunk.length
      return next
    }
    reading = readNext()
    while (reading) {
      const chunk = await reading
      signal?.throwIfAborted()
      reading = readNext()
      yield chunk
    }
  } finally {
    await reading?.catch(() => undefined) // nobody wants it any more, but it must not write into a closed file's buffer
    await handle.close()
  }
}

async function readFully(handle: FileHandle, chunk: Uint8Array, at: number, name: string): Promise<Uint8Array> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesRead } = await handle.read(chunk, done, chunk.length - done, at + done)
    if (bytesRead === 0) throw new HubError('corrupt', `${name} ends at byte ${at + done}, ${at + chunk.length} were there before`)
    done += bytesRead
  }
  return chunk
}
