import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { deflate } from 'node:zlib'
import { encodeEntryHeader, encodePackHeader } from '../../protocol/pack/entry.js'
import type { ObjectType } from '../../protocol/types.js'

export interface PackObject {
  readonly type: ObjectType
  /** In memory when its turn comes, and only then. */
  readonly data: () => Uint8Array | Promise<Uint8Array>
}

const deflated = promisify(deflate)

/** A pack of whole objects, chunk by chunk: one object at a time is in memory. */
export async function* streamPack(objects: readonly PackObject[]): AsyncGenerator<Uint8Array> {
  const sha1 = createHash('sha1')
  const counted = (chunk: Uint8Array): Uint8Array => {
    sha1.update(chunk)
    return chunk
  }
  yield counted(encodePackHeader(objects.length))
  for (const { type, data } of objects) {
    const bytes = await data()
    yield counted(Buffer.concat([encodeEntryHeader(type, bytes.length), await deflated(bytes)]))
  }
  yield sha1.digest()
}
