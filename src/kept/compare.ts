import { createHash } from 'node:crypto'
import type { Queryable } from '../db/pool.js'
import { findBlob, listBlobsBelow, type BlobRow, type BlobState } from '../db/stored-blobs.js'
import { HubError } from '../errors.js'
import type { BlobInfo, BlobKey, BlobStore } from '../storage/blob-store.js'
import { parseBlobKey, sha256OfKey } from '../storage/keys.js'

/**
 * What a store and the rows about it do not agree on. `missing`, `size` and `bytes` are said only of rows that something needs: the bytes are not
 * there, are fewer or more than the row says, or are others than the key says. `orphan`: bytes that no row knows.
 */
export interface BlobDifference {
  readonly kind: 'missing' | 'size' | 'bytes' | 'orphan'
  readonly key: BlobKey
  /** As the row says, or, of an orphan, as they are in the store. */
  readonly bytes: number
  /** As they are in the store. Of `size` only. */
  readonly stored?: number
}

/** What was looked at, counted while it is. */
export interface BlobFigures {
  blobs: number
  bytes: number
  /** Bytes that were read and hashed. */
  hashedBytes: number
}

export interface CompareOptions {
  /** Keys that begin so. Not `staging/`: what is on its way in is looked after elsewhere. */
  readonly prefix: 'packs/' | 'side/' | 'lfs/'
  /** Every blob that has a row is read and hashed. */
  readonly hash: boolean
  /** Bytes without a row that are no older may be on their way to one. */
  readonly orphanAgeMs: number
  readonly figures: BlobFigures
  readonly signal: AbortSignal
}

const pageRows = 1000
const hashesAtOnce = 4

/**
 * Goes through the store and the rows side by side, by key, and yields what differs. Memory is bounded: one page of rows, one of the listing. Every
 * difference is looked at again before it is told, since keys come and go meanwhile.
 * @throws the signal's reason; whatever store and database throw
 */
export async function* compareBlobs(
  { db, store }: { readonly db: Queryable; readonly store: BlobStore },
  options: CompareOptions,
): AsyncGenerator<BlobDifference> {
  const { prefix, hash, figures, signal } = options
  const hashing: Promise<BlobDifference | undefined>[] = []
  try {
    for await (const [row, info] of sideBySide(allRows(db, prefix), store.list(prefix))) {
      signal.throwIfAborted()
      if (info) {
        figures.blobs += 1
        figures.bytes += info.bytes
      }
      const different = await differenceOf(db, store, row, info, options)
      if (different) yield different
      else if (hash && row && info && row.state !== 'deleting') {
        if (hashing.length === hashesAtOnce) yield* told(await hashing.shift())
        const begun = checkHash(db, store, row, options)
        begun.catch(() => undefined) // it is thrown where it is awaited
        hashing.push(begun)
      }
    }
    while (hashing.length > 0) yield* told(await hashing.shift())
  } finally {
    await Promise.allSettled(hashing)
  }
}

function* told(difference: BlobDifference | undefined): Generator<BlobDifference> {
  if (difference) yield difference
}

async function differenceOf(
  db: Queryable,
  store: BlobStore,
  row: BlobState | undefined,
  info: BlobInfo | undefined,
  { orphanAgeMs }: CompareOptions,
): Promise<BlobDifference | undefined> {
  if (!row) {
    if (!info || Date.now() - info.modifiedAt.getTime() < orphanAgeMs || (await findBlob(db, info.key))) return undefined
    return { kind: 'orphan', key: info.key, bytes: info.bytes }
  }
  if (row.state === 'deleting' || info?.bytes === row.bytes) return undefined
  const now = await findBlob(db, row.key)
  // A row that nothing needs may wait for its bytes, or they never came: it goes by itself.
  if (!now?.linked || now.state === 'deleting') return undefined
  const key = parseBlobKey(row.key)
  const found = await store.stat(key)
  if (!found) return { kind: 'missing', key, bytes: now.bytes }
  return found.bytes === now.bytes ? undefined : { kind: 'size', key, bytes: now.bytes, stored: found.bytes }
}

async function checkHash(db: Queryable, store: BlobStore, row: BlobRow, { figures, signal }: CompareOptions): Promise<BlobDifference | undefined> {
  const key = parseBlobKey(row.key)
  if (await hasNamedBytes(store, key, { figures, signal })) return undefined
  return (await findBlob(db, key))?.linked ? { kind: 'bytes', key, bytes: row.bytes } : undefined
}

/** Reads a blob: whether its bytes are the ones its key names. @throws the signal's reason; whatever the store throws but `corrupt` */
export async function hasNamedBytes(
  store: BlobStore,
  key: BlobKey,
  { figures, signal }: { readonly figures?: Pick<BlobFigures, 'hashedBytes'>; readonly signal: AbortSignal },
): Promise<boolean> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of await store.open(key, { signal })) {
      hash.update(chunk)
      if (figures) figures.hashedBytes += chunk.length
    }
  } catch (error) {
    if (error instanceof HubError && error.code === 'corrupt') return false
    throw error
  }
  return hash.digest('hex') === sha256OfKey(key)
}

async function* allRows(db: Queryable, prefix: string): AsyncGenerator<BlobState> {
  for (let after = ''; ; ) {
    const rows = await listBlobsBelow(db, prefix, { after, limit: pageRows })
    yield* rows
    if (rows.length < pageRows) return
    after = rows.at(-1)!.key
  }
}

type Pair = readonly [row: BlobState | undefined, info: BlobInfo | undefined]

/** Both in the order of their keys; what has the same key comes together. */
async function* sideBySide(rows: AsyncIterable<BlobState>, infos: AsyncIterable<BlobInfo>): AsyncGenerator<Pair> {
  const left = rows[Symbol.asyncIterator]()
  const right = infos[Symbol.asyncIterator]()
  try {
    let row = await left.next()
    let info = await right.next()
    while (!row.done || !info.done) {
      const [rowKey, infoKey] = [row.done ? undefined : row.value.key, info.done ? undefined : info.value.key]
      const takesRow = rowKey !== undefined && (infoKey === undefined || rowKey <= infoKey)
      const takesInfo = infoKey !== undefined && (rowKey === undefined || infoKey <= rowKey)
      yield [takesRow && !row.done ? row.value : undefined, takesInfo && !info.done ? info.value : undefined]
      if (takesRow) row = await left.next()
      if (takesInfo) info = await right.next()
    }
  } finally {
    await left.return?.()
    await right.return?.()
  }
}
