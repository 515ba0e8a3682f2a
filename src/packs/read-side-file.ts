import { createHash } from 'node:crypto'
import { ProtocolError } from '../../protocol/errors.js'
import type { BlobStore } from '../storage/blob-store.js'
import { sidecarKey, type SidecarKind } from '../storage/keys.js'

export interface SideFileQuery {
  readonly kind: SidecarKind
  /** Its name. */
  readonly sha256: Uint8Array
  /** For messages: `pack 1234: its table`. */
  readonly what: string
  readonly maxBytes?: number
}

/** A whole file of the store in shared memory, checked against its name. @throws ProtocolError `corrupt`, `too-large`; what the store throws */
export async function readSideFile(store: BlobStore, query: SideFileQuery): Promise<Uint8Array> {
  const { kind, sha256, what, maxBytes = Number.POSITIVE_INFINITY } = query
  const key = sidecarKey(sha256, kind)
  const info = await store.stat(key)
  if (!info) throw new ProtocolError('corrupt', `${what} is not in the store`)
  if (info.bytes > maxBytes) throw new ProtocolError('too-large', `${what} has ${info.bytes} bytes, over the limit of ${maxBytes}`)
  const bytes = new Uint8Array(new SharedArrayBuffer(info.bytes))
  const hash = createHash('sha256')
  let at = 0
  for await (const chunk of await store.open(key)) {
    if (at + chunk.length > bytes.length) break
    bytes.set(chunk, at)
    hash.update(chunk)
    at += chunk.length
  }
  if (at !== bytes.length || !hash.digest().equals(sha256)) throw new ProtocolError('corrupt', `${what} does not read back`)
  return bytes
}

/** For what one can do without. Undefined: it is missing or wrong. */
export async function unlessCorrupt<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof ProtocolError && error.code === 'corrupt') return undefined
    throw error
  }
}
