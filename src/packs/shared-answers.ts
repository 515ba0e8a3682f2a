import { createHash } from 'node:crypto'
import { trailerBytes } from '../../protocol/pack/entry.js'
import { ProtocolError } from '../../protocol/errors.js'
import type { Database } from '../db/pool.js'
import {
  deleteLostSharedAnswers,
  deleteSharedAnswer,
  findSharedAnswer,
  insertSharedAnswer,
  lockAtEpoch,
  sumSharedAnswers,
  trimSharedAnswers,
  type SharedAnswerName,
} from '../db/shared-answers.js'
import { HubError } from '../errors.js'
import type { Collector } from '../kept/collect.js'
import { hasNamedBytes } from '../kept/compare.js'
import { lockKept, type Keeper } from '../kept/keep.js'
import type { BlobStore } from '../storage/blob-store.js'
import { packKey, parseBlobKey, sha256OfKey } from '../storage/keys.js'
import type { WholeAnswer } from './kept-answer.js'
import { checked } from './cached-pack.js'

export type { SharedAnswerName } from '../db/shared-answers.js'

/**
 * `found`: another hub's was taken. `kept`: ours is there for others. `full`: there was no room for it. `wrong`: what the store had was not what was
 * kept, and is gone. `failed`: it could not be looked for, or kept, for another reason.
 */
export const sharedAnswerEvents = ['found', 'kept', 'full', 'wrong', 'failed'] as const
export type SharedAnswerEvent = (typeof sharedAnswerEvents)[number]

export interface SharedAnswersOptions {
  readonly db: Database
  /** One that all hubs reach. */
  readonly store: BlobStore
  readonly keeper: Keeper
  readonly blobs: Pick<Collector, 'purge'>
  /** All of them together. What several hubs send at the same time may go beyond it by that much. 0: none is looked for or kept. */
  readonly maxBytes: number
  /** A smaller one is made as fast as it is fetched. */
  readonly minAnswerBytes?: number
  readonly onEvent?: (event: SharedAnswerEvent) => void
  readonly onFailed: (repoId: number, error: unknown) => void
}

/** Of all the room, for one. */
const maxShare = 8
const defaultMinBytes = 8 * 1024 * 1024
/** Sent to the store by this hub at the same time; what is made meanwhile is not. */
const maxSending = 4
const maxKeeps = 3
/** Read through to find out whether they are right, at the same time; and how long one is believed in. */
const maxJudging = 2
const judgedMs = 10 * 60_000
const hour = 60 * 60_000
/** Whoever has found one reads it in far less. */
const unusedMs = hour
/** By hubs with no room for them: others may have. */
const unwantedMs = 24 * hour

/**
 * Packs that took work to make, in a store that all hubs reach: rows say what is there (`shared_answer`), a blob is named by its SHA-256. Whoever asks has been
 * authorised and his request validated before. It is only for speed: no failure here is one of the answer, but for bytes that prove to be wrong after
 * some of them were sent.
 */
export class SharedAnswers {
  readonly #options: Required<SharedAnswersOptions>
  readonly #closing = new AbortController()
  readonly #sending = new Set<Promise<void>>()
  readonly #judging = new Set<Promise<void>>()
  /** By key: when its bytes were last looked at because somebody left early. */
  readonly #judgedAt = new Map<string, number>()

  constructor(options: SharedAnswersOptions) {
    this.#options = { minAnswerBytes: defaultMinBytes, onEvent: () => undefined, ...options }
  }

  /**
   * The bytes of an answer, checked against their name before the last is given; undefined: it has to be made. A chunk is valid until the next.
   * The stream throws HubError `corrupt` for wrong bytes, and whatever the store throws. When it is not read to its end the bytes are judged afterwards.
   */
  async find(name: SharedAnswerName, signal: AbortSignal | undefined): Promise<AsyncIterable<Uint8Array> | undefined> {
    const { db, store, maxBytes, onEvent } = this.#options
    if (maxBytes === 0) return undefined
    let key: string | undefined
    try {
      const found = await findSharedAnswer(db, name)
      if (!found) return undefined
      key = found.key
      const chunks = await store.open(parseBlobKey(key), signal ? { signal } : {})
      onEvent('found')
      return this.#read(name, found, chunks)
    } catch (error) {
      if (signal?.aborted) throw new ProtocolError('cancelled', 'the client left')
      await this.#failed(name, error, key)
      return undefined
    }
  }

  /** Sends an answer to the store for other hubs, unless it is small or there is no room. Comes back when that is done. Never throws. */
  async keep(name: SharedAnswerName, answer: WholeAnswer): Promise<void> {
    const { maxBytes, minAnswerBytes } = this.#options
    const tooSmallOrLarge = answer.bytes < minAnswerBytes || answer.bytes * maxShare > maxBytes
    if (tooSmallOrLarge || this.#sending.size >= maxSending || this.#closing.signal.aborted) return
    const sending = this.#keep(name, answer).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) return this.#failed(name, error)
    })
    this.#sending.add(sending)
    await sending
    this.#sending.delete(sending)
  }

  /** Removes what can be found no more, and what was used longest ago until a quarter of the room is free. How many blobs went. */
  async trim(): Promise<number> {
    const { db, maxBytes } = this.#options
    const trimmed = await trimSharedAnswers(db, maxBytes * 0.75, maxBytes === 0 ? unwantedMs : unusedMs)
    const keys = [...(await deleteLostSharedAnswers(db)), ...trimmed]
    for (const key of keys) await this.#remove(key)
    return keys.length
  }

  /** Gives up what is being sent, or judged. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([...this.#sending, ...this.#judging])
  }

  async *#read(
    name: SharedAnswerName,
    { key, bytes }: { readonly key: string; readonly bytes: number },
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    let isJudged = false
    try {
      yield* checked({ sha256: Buffer.from(sha256OfKey(parseBlobKey(key))!, 'hex'), bytes }, chunks)
      isJudged = true
    } catch (error) {
      isJudged = error instanceof HubError
      if (isJudged) await this.#failed(name, error, key)
      throw error
    } finally {
      if (!isJudged) this.#judgeLater(name, key)
    }
  }

  /** Git leaves as soon as it meets a wrong byte, before the hash could tell: whoever leaves early may have had that reason. */
  #judgeLater(name: SharedAnswerName, key: string): void {
    const now = performance.now()
    const isKnown = now - (this.#judgedAt.get(key) ?? Number.NEGATIVE_INFINITY) < judgedMs
    if (isKnown || this.#judging.size >= maxJudging || this.#closing.signal.aborted) return
    for (const [old, at] of this.#judgedAt) if (now - at >= judgedMs) this.#judgedAt.delete(old)
    this.#judgedAt.set(key, now)
    const judging = this.#judge(name, key).finally(() => this.#judging.delete(judging))
    this.#judging.add(judging)
  }

  async #judge(name: SharedAnswerName, key: string): Promise<void> {
    const { signal } = this.#closing
    try {
      if (await hasNamedBytes(this.#options.store, parseBlobKey(key), { signal })) return
      this.#judgedAt.delete(key)
      await this.#failed(name, new HubError('corrupt', `${key} has other bytes in the store than its name says`), key)
    } catch (error) {
      if (!signal.aborted) await this.#failed(name, error)
    }
  }

  async #keep(name: SharedAnswerName, { bytes, read }: WholeAnswer): Promise<void> {
    const { db, store, keeper, maxBytes, onEvent } = this.#options
    const { signal } = this.#closing
    const sha256 = await hashPack(read(), bytes)
    if (await findSharedAnswer(db, name)) return
    if ((await sumSharedAnswers(db)) + bytes > maxBytes) return onEvent('full')
    const key = packKey(sha256)
    for (let keeps = 0; keeps < maxKeeps; keeps++) {
      await keeper.keep([{ key, bytes, write: async () => void (await store.put(key, read(), { bytes, sha256, signal })) }])
      const outcome = await db.transaction(async (tx) => {
        if (!(await lockAtEpoch(tx, name.repoId, name.purgeEpoch))) return 'purged'
        if (!(await lockKept(tx, [key]))) return 'deleted'
        await insertSharedAnswer(tx, { ...name, key, bytes })
        return 'kept'
      })
      if (outcome === 'kept') return onEvent('kept')
      // What had to go must not be there because it came late.
      if (outcome === 'purged') return this.#remove(key)
    }
  }

  /** Never throws. `key`: of the blob that is to blame, if one is. */
  async #failed({ repoId }: SharedAnswerName, error: unknown, key?: string): Promise<void> {
    const { db, onEvent, onFailed } = this.#options
    const isWrong = key !== undefined && error instanceof HubError && error.code === 'corrupt'
    onEvent(isWrong ? 'wrong' : 'failed')
    onFailed(repoId, error)
    if (!isWrong) return
    await deleteSharedAnswer(db, key)
      .then(() => this.#remove(key))
      .catch((cause: unknown) => onFailed(repoId, cause))
  }

  /** Bytes whose rows are gone, unless something else needs them. What cannot be deleted now is collected as any unused blob. */
  async #remove(key: string): Promise<void> {
    await this.#options.blobs.purge(key).catch(() => false)
  }
}

/** @throws ProtocolError `corrupt` when it does not end as a pack of these bytes does */
async function hashPack(chunks: AsyncIterable<Uint8Array>, bytes: number): Promise<Buffer> {
  const [whole, body] = [createHash('sha256'), createHash('sha1')]
  const trailer = Buffer.alloc(trailerBytes)
  const bodyBytes = bytes - trailerBytes
  let at = 0
  for await (const chunk of chunks) {
    whole.update(chunk)
    body.update(chunk.subarray(0, Math.max(0, bodyBytes - at)))
    const tail = chunk.subarray(Math.max(0, bodyBytes - at))
    if (tail.length > 0) trailer.set(tail, at + chunk.length - tail.length - bodyBytes)
    at += chunk.length
  }
  if (at !== bytes || !body.digest().equals(trailer)) throw new ProtocolError('corrupt', 'an answer that was kept is no whole pack')
  return whole.digest()
}
