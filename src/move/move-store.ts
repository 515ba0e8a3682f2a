import { setTimeout as delay } from 'node:timers/promises'
import { checkSealedKeys, resealKeys } from '../auth/keys.js'
import { openCopySession, type CopySession } from '../db/copy-session.js'
import {
  deleteMove,
  findMove,
  forgetAllBlobs,
  forgetBlobs,
  insertMove,
  listMissingBlobs,
  listStrayBlobs,
  takeSwitchLock,
  tryMoverLock,
} from '../db/hub-move.js'
import { findHubStore } from '../db/hub-store.js'
import { compareTables, listHubTables, sealTables, unsealTables, type HubTable } from '../db/hub-tables.js'
import { sql } from '../db/sql.js'
import { countStoredBlobs } from '../db/stored-blobs.js'
import { HubError } from '../errors.js'
import { parseBlobKey } from '../storage/keys.js'
import { readStoreId } from '../storage/store-id.js'
import { claimTarget } from './claim-target.js'
import { copyBlobs, type BadBlob, type CopiedBlobs } from './copy-blobs.js'
import { beginFenced, copyTables } from './copy-tables.js'
import { gatePollMs } from './gate.js'
import { startProgress } from './progress.js'
import type { Side, TargetSide } from './side.js'

export interface MoveOptions {
  readonly source: Side
  readonly target: TargetSide
  /** Takes the target's store and database for this move alone, and makes them know each other. */
  readonly claimStore: () => Promise<void>
  /** Goes on though bytes that rows need are lost, or are not what they were. */
  readonly acceptLost: boolean
  /** A line for the person who waits. */
  readonly say: (line: string) => void
  readonly signal: AbortSignal
  /** How long hubs that are at work get to see that nothing may be changed. */
  readonly announceMs?: number
}

export interface Moved {
  readonly rows: number
  /** How long nothing could be changed, milliseconds. */
  readonly readOnlyMs: number
}

/** What the server ends when the process that moves is not heard of: so long may a dead machine keep a hub from being changed. */
const silenceMs = 30_000
/** Copies while the hub is at work are repeated until one finds no more than this, or so often. */
const little = { blobs: 20, bytes: 256 * 2 ** 20 }
const maxPasses = 10
const shownBad = 20
const strayPage = 1_000

/**
 * Moves a hub's data from one place to another. First the blobs, while hubs are at work there; then nothing may be changed for a moment, in which
 * the rest of the blobs and all rows go over, and the source is sealed. Killed at any time it leaves a hub that goes on by itself, and run again it
 * goes on where it was.
 *
 * The order of the last steps is what makes that so: rows are committed at the target, where no hub starts yet; then the source is sealed, in the
 * transaction that has kept it from being changed; then the target is a hub's.
 * @throws HubError `config` when the two places do not go together; `corrupt` when bytes are lost and that was not accepted; `busy`, `unavailable`
 */
export async function moveStore(options: MoveOptions): Promise<Moved | 'was moved before'> {
  const [session, there] = await openSessions(options)
  const signal = AbortSignal.any([options.signal, session.lost, there.lost])
  try {
    return await moveBetween({ ...options, signal }, session, there)
  } catch (error) {
    signal.throwIfAborted() // why it was stopped says more than where
    throw error
  } finally {
    await there.close()
    await session.close()
  }
}

async function moveBetween(options: MoveOptions, session: CopySession, there: CopySession): Promise<Moved | 'was moved before'> {
  const { source, target, say } = options
  const { tables, storeId } = await checkSides(options, session)
  if (await isMoved(options)) {
    if (!(await findMove(target.db))) return 'was moved before'
    say('the source was sealed before, and what is left is done now')
    await options.claimStore()
    await finish(options)
    return 'was moved before'
  }
  await claimTarget({ ...source, storeId }, target, tables)
  await options.claimStore()
  const accepted = await copyAhead(options)
  const moved = await switchOver(options, { tables, accepted, session, there })
  await finish(options)
  return moved
}

async function openSessions({ source, target }: MoveOptions): Promise<readonly [CopySession, CopySession]> {
  const session = await openSession(source, 'the source')
  try {
    return [session, await openSession(target, 'the target')]
  } catch (error) {
    await session.close()
    throw error
  }
}

const openSession = ({ directConnection, setting }: Side, which: string): Promise<CopySession> =>
  openCopySession({ connection: directConnection, setting: `${setting} of ${which}`, silenceMs })

interface Checked {
  readonly tables: readonly HubTable[]
  /** Of the source. */
  readonly storeId: string
}

/** @throws HubError `config` when the two do not go together; `corrupt` when the source's secret is not the one its keys are sealed with */
async function checkSides({ source, target, say }: MoveOptions, session: CopySession): Promise<Checked> {
  if (!(await tryMoverLock(session, 'session'))) throw moverIsThere()
  const storeId = (await findHubStore(source.db))?.storeId
  const ids = [await readStoreId(source.store), await readStoreId(target.store)]
  if (storeId === undefined || storeId !== ids[0]) {
    throw new HubError(
      'config',
      `${source.storeName} is not the store of the source's database: its store-id says ${ids[0] ?? 'nothing'}, and the database ${storeId ?? 'nothing'}`,
    )
  }
  if (storeId === ids[1]) throw new HubError('config', 'source and target have the same store: both change places, database and store')
  const { tables, foreign } = compareTables(await listHubTables(source.db), await listHubTables(target.db))
  for (const name of foreign) say(`left behind: the table ${name}, which is none of the hub's`)
  await checkSealedKeys(source.db, source.secretKey)
  return { tables, storeId }
}

const moverIsThere = (): HubError => new HubError('config', 'another cairn migrate-store is moving this hub')

/** Whether the source is sealed, because its data is at this target. @throws HubError `config` when it is elsewhere */
async function isMoved({ source, target }: MoveOptions): Promise<boolean> {
  const move = await findMove(source.db)
  if (!move) return false
  if (move.state === 'arriving') throw new HubError('config', `the source is itself the target of a move, from ${move.otherPlace}, that is not over`)
  if ((await findHubStore(target.db))?.storeId === move.otherStore) return true
  throw new HubError('config', `the data of the source was moved to ${move.otherPlace} (${move.at.toISOString()}), which is not this target`)
}

/** While the hub is at work: until there is little left. Comes back with what cannot be had, and need not be. */
async function copyAhead(options: MoveOptions): Promise<readonly BadBlob[]> {
  for (let pass = 1; ; pass++) {
    const { blobs, bytes, bad } = await copyPass(options, pass === 1)
    const more = blobs > little.blobs || bytes > little.bytes
    // What was bad may be on its way out: it is looked at twice.
    if ((more || (bad.length > 0 && pass === 1)) && pass < maxPasses) continue
    judge(options, bad, [])
    return bad
  }
}

async function copyPass(options: MoveOptions, first: boolean): Promise<CopiedBlobs> {
  const { source, target, say, signal } = options
  const progress = startProgress({ ...(await countStoredBlobs(source.db)), say })
  try {
    return await copyBlobs({ source, target, progress, lookInStore: first, signal })
  } finally {
    progress.end()
  }
}

/** Names what was not named before. @throws HubError `corrupt` unless lost bytes are accepted */
function judge({ acceptLost, say }: MoveOptions, bad: readonly BadBlob[], named: readonly BadBlob[]): void {
  const news = bad.filter(({ key }) => !named.some((blob) => blob.key === key))
  for (const { key, why } of news.slice(0, shownBad)) say(`${key}: ${why}`)
  if (news.length > shownBad) say(`… and ${news.length - shownBad} more`)
  if (bad.length === 0 || acceptLost) return
  const what = bad.length === 1 ? 'one blob that is needed is' : `${bad.length} blobs that are needed are`
  throw new HubError(
    'corrupt',
    `${what} lost or damaged in the source: bring the bytes back from a backup, or say --accept-lost to move without them`,
  )
}

interface Switch {
  readonly tables: readonly HubTable[]
  readonly accepted: readonly BadBlob[]
  readonly session: CopySession
  readonly there: CopySession
}

/** From the first line on nothing can be changed; whatever ends it, but its end, lets the hub go on as if nothing had been. */
async function switchOver(options: MoveOptions, { tables, accepted, session, there }: Switch): Promise<Moved> {
  const { source, target, say, signal, announceMs = gatePollMs + 1_000 } = options
  say('the hub takes no changes from now on')
  const began = performance.now()
  await takeSwitchLock(session)
  await delay(announceMs, undefined, { signal })
  await beginFenced(session, tables, signal)
  const last = await copyPass(options, false)
  judge(options, last.bad, accepted)
  say('copying the tables')
  await there.execute(sql`BEGIN`)
  const rows = await copyTables(session, there, tables, signal)
  await checkComplete(there, last.bad)
  await resealKeys(there, source.secretKey, target.secretKey)
  await there.execute(sql`COMMIT`)
  await target.keepSecrets()
  signal.throwIfAborted()
  const { storeId } = (await findHubStore(target.db))!
  await insertMove(session, { state: 'moved', otherStore: storeId, otherPlace: target.place })
  await sealTables(session, tables)
  await session.execute(sql`COMMIT`)
  return { rows, readOnlyMs: Math.round(performance.now() - began) }
}

/** @throws HubError `corrupt` when a row came over whose bytes did not */
async function checkComplete(there: CopySession, accepted: readonly BadBlob[]): Promise<void> {
  const known = new Set(accepted.map(({ key }) => key))
  const missing = (await listMissingBlobs(there, known.size + 1)).filter(({ key }) => !known.has(key))
  if (missing.length > 0)
    throw new HubError('corrupt', `the target has the row of ${missing[0]!.key} and not its bytes: nothing was switched, run the command again`)
}

/** What is left once the source is sealed: bytes that no row knows go, and then the target is a hub's. */
async function finish({ target, signal }: MoveOptions): Promise<void> {
  for (let strays = await listStrayBlobs(target.db, strayPage); strays.length > 0; strays = await listStrayBlobs(target.db, strayPage)) {
    signal.throwIfAborted()
    for (const key of strays) await target.store.delete(parseBlobKey(key))
    await forgetBlobs(target.db, strays)
  }
  for (const { name } of await listHubTables(target.db)) await target.db.execute({ text: `ANALYZE "${name}"`, values: [] })
  await target.db.transaction(async (tx) => {
    await forgetAllBlobs(tx)
    await deleteMove(tx)
  })
}

/**
 * Takes the seal off a place whose data was moved away. What has been changed at the other place since is not here.
 * @throws HubError `config` when nothing was moved away
 */
export async function undoMove({ db }: Pick<Side, 'db'>): Promise<{ readonly place: string; readonly at: Date }> {
  return db.transaction(async (tx) => {
    if (!(await tryMoverLock(tx, 'transaction'))) throw moverIsThere()
    const move = await findMove(tx)
    if (move?.state !== 'moved') throw new HubError('config', 'nothing was moved away from here')
    await unsealTables(tx)
    await deleteMove(tx)
    return { place: move.otherPlace, at: move.at }
  })
}
