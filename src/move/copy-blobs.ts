import { parseLfsOid } from '../../lfs/types.js'
import { expectBlobs, listVerifiedBlobs, setBlobsVerified } from '../db/hub-move.js'
import type { Queryable } from '../db/pool.js'
import { isBlobNeeded, listStoredBlobs, type BlobRow } from '../db/stored-blobs.js'
import { HubError } from '../errors.js'
import { eachOf } from '../kept/each-of.js'
import { checkedBytes, createRunningHash } from '../large-files/checked-bytes.js'
import type { BlobInfo, BlobStore } from '../storage/blob-store.js'
import { contentHashOf, parseBlobKey } from '../storage/keys.js'
import type { Progress } from './progress.js'

/** A database and the store that its rows are about. */
export interface Place {
  readonly db: Queryable
  readonly store: BlobStore
}

export interface CopyBlobsOptions {
  readonly source: Place
  readonly target: Place
  readonly progress: Progress
  /**
   * Asks the target's store as well as the record of what was verified: somebody may have taken bytes away since. Once in a run; it lists the whole
   * store.
   */
  readonly lookInStore: boolean
  readonly signal: AbortSignal
}

/** A blob that a row needs and whose bytes are not there, or are not what the key says. */
export interface BadBlob {
  readonly key: string
  readonly why: string
}

export interface CopiedBlobs {
  readonly blobs: number
  readonly bytes: number
  readonly bad: readonly BadBlob[]
}

const pageRows = 1_000
/** Each costs the disks a few syncs, or the network a few trips. */
const copiesAtOnce = 8
/** What was verified is written down in groups; a group that was not is copied again. */
const groupBlobs = 50

/**
 * Copies every blob of the source that the target does not have, in order of their keys. Each is hashed on its way and gets its name in the
 * target only if it is what its key says. Bytes that nothing needs, and that cannot be had, are passed over.
 * @throws HubError `unavailable`, `storage-full`; the signal's reason. What was verified until then stays
 */
export async function copyBlobs({ source, target, progress, lookInStore, signal }: CopyBlobsOptions): Promise<CopiedBlobs> {
  const presence = lookInStore ? createPresence(target.store.list('')) : undefined
  const bad: BadBlob[] = []
  let blobs = 0
  let bytes = 0
  try {
    for (let after = ''; ; ) {
      signal.throwIfAborted()
      const rows = await listStoredBlobs(source.db, { after, limit: pageRows })
      const missing = await missingOf(target, rows, presence)
      const missingBytes = bytesOf(missing)
      progress.done(rows.length - missing.length, bytesOf(rows) - missingBytes)
      await expectBlobs(target.db, missing)
      for (let at = 0; at < missing.length; at += groupBlobs) {
        const group = missing.slice(at, at + groupBlobs)
        const verified: string[] = []
        try {
          await eachOf(group, copiesAtOnce, async (row) => {
            const why = await copyOne({ source, target, progress, signal }, row)
            progress.done(1, row.bytes)
            if (why === undefined) {
              verified.push(row.key)
              blobs += 1
              bytes += row.bytes
            } else if (await isBlobNeeded(source.db, row.key)) bad.push({ key: row.key, why })
          })
        } finally {
          if (verified.length > 0) await setBlobsVerified(target.db, verified)
        }
      }
      if (rows.length < pageRows) break
      after = rows.at(-1)!.key
    }
  } finally {
    await presence?.end()
  }
  return { blobs, bytes, bad }
}

const bytesOf = (rows: readonly BlobRow[]): number => rows.reduce((sum, row) => sum + row.bytes, 0)

async function missingOf(target: Place, rows: readonly BlobRow[], presence: Presence | undefined): Promise<BlobRow[]> {
  const verified = new Map(
    (
      await listVerifiedBlobs(
        target.db,
        rows.map(({ key }) => key),
      )
    ).map(({ key, bytes }) => [key, bytes]),
  )
  const missing: BlobRow[] = []
  for (const row of rows) {
    const there = verified.get(row.key) === row.bytes && (presence === undefined || (await presence.bytesOf(row.key)) === row.bytes)
    if (!there) missing.push(row)
  }
  return missing
}

/** Why a blob cannot be copied, where that is the source's fault. */
async function copyOne(
  { source, target, progress, signal }: Pick<CopyBlobsOptions, 'source' | 'target' | 'progress' | 'signal'>,
  { key: text, bytes: size }: BlobRow,
): Promise<string | undefined> {
  const key = parseBlobKey(text)
  const hash = contentHashOf(key)
  if (hash === undefined) return 'its key does not say what it holds'
  const oid = parseLfsOid(hash)
  let fault: unknown
  const read = async function* (): AsyncGenerator<Uint8Array> {
    try {
      const stream = await source.store.open(key, { signal })
      for await (const chunk of checkedBytes(stream, { oid, size }, createRunningHash())) {
        progress.went(chunk.length)
        yield chunk
      }
    } catch (error) {
      fault = error
      throw error
    }
  }
  try {
    await target.store.put(key, read(), { bytes: size, sha256: Buffer.from(oid, 'hex'), signal })
    return undefined
  } catch (error) {
    const why = whyBad(fault)
    if (why === undefined) throw error
    return why
  }
}

/** Of what reading the source came to: that the bytes are not those they should be, or that the disk cannot read them. */
function whyBad(fault: unknown): string | undefined {
  if (fault instanceof HubError) return fault.code === 'corrupt' || fault.code === 'invalid' ? fault.message : undefined
  return (fault as NodeJS.ErrnoException | undefined)?.code === 'EIO' ? 'the disk cannot read it (EIO)' : undefined
}

interface Presence {
  /** Of keys that come in order. Undefined: not there. */
  bytesOf(key: string): Promise<number | undefined>
  end(): Promise<void>
}

/** Looks keys up in a list, both in order, so that neither is ever whole in memory. */
function createPresence(list: AsyncIterable<BlobInfo>): Presence {
  const iterator = list[Symbol.asyncIterator]()
  let current: BlobInfo | undefined
  let ended = false
  return {
    async bytesOf(key) {
      while (!ended && (current === undefined || current.key < key)) {
        const next = await iterator.next()
        if (next.done) ended = true
        else current = next.value
      }
      return current?.key === key ? current.bytes : undefined
    },
    end: async () => void (await iterator.return?.()),
  }
}
