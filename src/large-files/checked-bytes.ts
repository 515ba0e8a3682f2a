import { createHash } from 'node:crypto'
import { HubError } from '../errors.js'
import type { LargeObject } from '../../lfs/ports.js'

/** A SHA-256 under way. A chunk stays as it is until `update` has ended. */
export interface RunningHash {
  update(chunk: Uint8Array): Promise<void>
  /** 64 lower-case hex digits. */
  digest(): string
}

/** Hashes on this thread, 64 KiB in some 40 µs; the store writes what it has gathered meanwhile. */
export function createRunningHash(): RunningHash {
  const hash = createHash('sha256')
  return {
    update: async (chunk) => void hash.update(chunk),
    digest: () => hash.digest('hex'),
  }
}

/**
 * The same bytes, if they are the object: ends well only after `size` bytes of that SHA-256. The last chunk is given out once all of them are
 * known to be right: nobody ever has the whole of something else. Asks for nothing more once there are too many.
 * @throws HubError `invalid`
 */
export async function* checkedBytes(bytes: AsyncIterable<Uint8Array>, { oid, size }: LargeObject, hash: RunningHash): AsyncGenerator<Uint8Array> {
  let received = 0
  const check = (): void => {
    const digest = hash.digest()
    if (digest !== oid) throw new HubError('invalid', `the bytes have the SHA-256 ${digest}, not ${oid}`)
  }
  for await (const chunk of bytes) {
    if (chunk.length === 0) continue
    received += chunk.length
    if (received > size) throw new HubError('invalid', `more than ${size} bytes came for ${oid}`)
    const hashed = hash.update(chunk)
    hashed.catch(() => undefined) // heard below, or the bytes are given up
    if (received === size) {
      await hashed
      check()
    }
    yield chunk
    await hashed
  }
  if (received < size) throw new HubError('invalid', `only ${received} of ${size} bytes came for ${oid}`)
  if (size === 0) check()
}
