import { createHash } from 'node:crypto'
import { deepen } from '../../protocol/deepen.js'
import { ProtocolError } from '../../protocol/errors.js'
import { oidBytes } from '../../protocol/oid.js'
import { packBeyond, type PackBeyond } from '../../protocol/pack/beyond.js'
import { answerPack } from '../../protocol/pack/writer.js'
import type { AnswerCache, AnswerPack, Deepen, GivenPacks, PackRequest, Reaches, WorkOptions } from '../../protocol/ports.js'
import { reaches } from '../../protocol/reachable.js'
import { objectTypes } from '../../protocol/types.js'
import { AnswerMemory } from './answer-cache.js'
import { findBlobless, findGiven, findJoinedAnswer, readJoinedPacks } from './joined-answer.js'
import type { AnswerFiles } from './answer-files.js'
import type { AnswerInTheMaking } from './kept-answer.js'
import type { SharedAnswerName, SharedAnswers } from './shared-answers.js'
import { PacksBeyond, type HeldPack } from './packs-beyond.js'
import { RepoSnapshot, type Snapshot } from './snapshot.js'
import { findStoredAnswer, readStoredPack } from './stored-answer.js'
import { startTimeLimit } from './time-limit.js'
import { Turns, type TurnKeys } from './turns.js'
import { workLimits, type WorkLimits } from './work-limits.js'

/** Where a pack came from: it was kept here, it is stored as it stands, another hub had made it, it was made by a walk. */
export const answerSources = ['kept', 'stored', 'shared', 'walk'] as const
export type AnswerSource = (typeof answerSources)[number]

/** `left`: the client, before all of it was out. Of a pack kept in memory, which goes out at once, only `sent` is known. */
export const answerOutcomes = ['sent', 'left', 'failed'] as const
export type AnswerOutcome = (typeof answerOutcomes)[number]

export type OnAnswered = (source: AnswerSource, outcome: AnswerOutcome) => void

export interface AnswersUsage {
  /** Memory of the answers that are kept, and of what goes out behind stored packs. */
  readonly bytes: number
  /** Disk of those to clones, which are made once for all who ask. */
  readonly fileBytes: number
  /** Fetches that wait for their turn to have a history cut or a pack made. */
  readonly waiting: number
}

export interface Answers {
  /** For who asks: a user, or the address of somebody unknown. */
  answerFor(caller: string): AnswerPack
  readonly reaches: Reaches
  /** For who asks, as `answerFor`. */
  deepenFor(caller: string): Deepen
  /** Answers of the repository in this state that were given before. */
  cacheFor(view: Snapshot): AnswerCache
  /** To be told of a pack that came out of it. */
  readonly onKept: () => void
  /** Lets go of what is kept of a repository. */
  forget(repoId: number): void
  /** Repositories of which answers are kept, each with the purge epoch they belong to, perhaps several times. */
  known(): Iterable<readonly [repoId: number, purgeEpoch: number]>
  usage(): AnswersUsage
}

export interface AnswersOptions {
  /** Memory for answers that are kept. */
  readonly answerBytes: number
  /** Where packs are made; by default on this thread, in the caller's slices. */
  readonly jobs?: { readonly answer: AnswerPack; readonly beyond: PackBeyond; readonly reaches: Reaches; readonly deepen: Deepen }
  readonly limits?: Partial<WorkLimits>
  /** Memory for what goes out behind the packs of a collection, all clones together. */
  readonly beyondBytes?: number
  /** Where answers to clones are kept, and made once for all who ask; undefined: each is made for itself. */
  readonly files?: AnswerFiles | undefined
  /** Beside `files`: where those to clones are kept for other hubs. */
  readonly shared?: Pick<SharedAnswers, 'find' | 'keep'> | undefined
  /** Told of every pack that was an answer, once it is out or given up. */
  readonly onAnswered?: OnAnswered
}

const defaultBeyondBytes = 64 * 1024 * 1024

/** How this hub answers fetches: from a stored pack as it stands if that can be, else by a walk. */
export function createAnswers({
  answerBytes,
  jobs = { answer: answerPack, beyond: packBeyond, reaches, deepen },
  limits = {},
  beyondBytes = defaultBeyondBytes,
  files,
  shared,
  onAnswered = () => undefined,
}: AnswersOptions): Answers {
  const { buildsAtOnce, maxBuildMs } = { ...workLimits, ...limits }
  const turns = new Turns(buildsAtOnce)
  // Not the turns of packs: a client that waits for the end of its history mostly waits in silence.
  const cuts = new Turns(buildsAtOnce)
  const looks = new Turns(buildsAtOnce)
  const memory = new AnswerMemory({ maxBytes: answerBytes })
  const beyond = new PacksBeyond(beyondBytes)
  return {
    answerFor: (caller) => (view, request, options) => {
      if (!(view instanceof RepoSnapshot)) return jobs.answer(view, request, options)
      const stored = readStoredAnswer(view, request, options)
      if (stored) return watched(view, stored, (outcome) => onAnswered('stored', outcome))
      const keys = keysOf(view, caller)
      const make = (inner: WorkOptions) =>
        makeHere(view, request, inner, () => makeInTurn(turns, keys, maxBuildMs, inner, (inTime) => jobs.answer(view, request, inTime)))
      let source: AnswerSource = 'walk'
      const made = (): AsyncIterable<Uint8Array> => {
        if (!files || !isClone(view, request)) return make(options)
        source = 'kept'
        const key = keyOf(view, request)
        return files.answer(scopeOf(view), key, (inner) => begin(view, shared, key, inner, make, (from) => (source = from)), options)
      }
      const given = findGiven(view, request)
      const lookedAt = given && `${scopeOf(view)} ${view.versions.packsVer} ${keyOf(view, request)}`
      if (!lookedAt || beyond.hasNone(lookedAt)) return watched(view, made(), (outcome) => onAnswered(source, outcome))
      const look = async () => {
        const pack = await inTurn(looks, keys, maxBuildMs, options, 'looking for what is new', (inTime) =>
          jobs.beyond(view.searching(given.packs), request, given, inTime),
        )
        if (!pack) beyond.noteNone(lookedAt)
        return pack && beyond.hold(pack)
      }
      const chunks = joinWhatIsNew(view, given, look, made, options, () => (source = 'stored'))
      return watched(view, chunks, (outcome) => onAnswered(source, outcome))
    },
    reaches: jobs.reaches,
    deepenFor: (caller) => (view, request, options) => {
      if (!(view instanceof RepoSnapshot)) return jobs.deepen(view, request, options)
      return inTurn(cuts, keysOf(view, caller), maxBuildMs, options, 'cutting the history', (inTime) => jobs.deepen(view, request, inTime))
    },
    // Tags that go along depend on the refs; all else follows from the wants.
    cacheFor: (view) => memory.within(`${scopeOf(view)} ${view.versions.refsVer}`),
    onKept: () => onAnswered('kept', 'sent'),
    forget(repoId) {
      files?.forget(`${repoId} `)
      memory.forget(`${repoId} `)
    },
    *known() {
      for (const kept of [memory, files]) for (const scope of kept?.scopes() ?? []) yield repoOfScope(scope)
    },
    usage: () => ({ bytes: memory.bytes + beyond.bytes, fileBytes: files?.usedBytes ?? 0, waiting: turns.waiting + cuts.waiting + looks.waiting }),
  }
}

/** An answer that is made, unless another hub has made it. `onSource` is told which, before its first byte. */
function begin(
  view: Snapshot,
  shared: AnswersOptions['shared'],
  key: string,
  options: WorkOptions,
  make: (options: WorkOptions) => AsyncIterable<Uint8Array>,
  onSource: (source: AnswerSource) => void,
): AnswerInTheMaking {
  const { repoId, versions } = view
  const name: SharedAnswerName = { repoId, purgeEpoch: versions.purgeEpoch, request: createHash('sha256').update(key).digest() }
  let isMade = true
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const found = await shared?.find(name, options.slices.signal)
    isMade = found === undefined
    onSource(isMade ? 'walk' : 'shared')
    yield* found ?? make(options)
  }
  return { chunks: chunks(), release: view.retain(), keep: async (answer) => (isMade ? shared?.keep(name, answer) : undefined) }
}

/** What is kept of a repository begins so. */
const scopeOf = ({ repoId, versions }: Snapshot): string => `${repoId} ${versions.purgeEpoch}`

function repoOfScope(scope: string): readonly [repoId: number, purgeEpoch: number] {
  const [repoId, purgeEpoch] = scope.split(' ')
  return [Number(repoId), Number(purgeEpoch)]
}

/**
 * Asked for by others too, perhaps. Who has something already seldom has what the next one has, and who wants no history comes for what a
 * partial clone left out.
 */
function isClone(view: Snapshot, { haves, wants: [first] }: PackRequest): boolean {
  const entry = haves.length > 0 || first === undefined ? -1 : view.find(oidBytes(first), 'read')
  return entry !== -1 && (view.typeOf(entry) === objectTypes.commit || view.typeOf(entry) === objectTypes.tag)
}

const keysOf = ({ repoId }: Snapshot, caller: string): TurnKeys => [`repository ${repoId}`, caller]

/** A clone goes through all packs: they are fetched together, and before its turn. Who has something, or leaves something out, seldom needs all. */
async function* makeHere(
  view: Snapshot,
  { haves, filter }: PackRequest,
  { slices }: WorkOptions,
  make: () => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const coming = haves.length === 0 && !filter && view.fetchPacks(slices.signal)
  if (coming) await coming
  yield* make()
}

/** Work in its turn, with its time counted. To be ended. */
async function beginInTurn(turns: Turns, keys: TurnKeys, maxMs: number, options: WorkOptions, what: string) {
  const { slices } = options
  const leave = await turns.take(keys, slices.signal)
  const limit = startTimeLimit(maxMs, slices.signal, what)
  return {
    inTime: { ...options, slices: { pause: () => slices.pause(), signal: limit.signal } } satisfies WorkOptions,
    limit,
    leave,
    end: (): void => {
      limit.end()
      leave()
    },
  }
}

/** A pack made in its turn, which lasts until its first byte: from then on it is the client who sets the pace. */
async function* makeInTurn(
  turns: Turns,
  keys: TurnKeys,
  maxMs: number,
  options: WorkOptions,
  make: (options: WorkOptions) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { inTime, limit, leave, end } = await beginInTurn(turns, keys, maxMs, options, 'making the pack')
  try {
    for await (const chunk of make(inTime)) {
      leave()
      limit.pause()
      yield chunk
      limit.resume()
    }
  } catch (error) {
    throw limit.explain(error)
  } finally {
    end()
  }
}

/** What a collection packed as it stands, and what came since behind it; where the wants do not lead to all of that, or to much beside it, `made`. */
async function* joinWhatIsNew(
  view: Snapshot,
  { packs }: GivenPacks,
  look: () => Promise<HeldPack | undefined>,
  made: () => AsyncIterable<Uint8Array>,
  options: WorkOptions,
  onJoined: () => void,
): AsyncGenerator<Uint8Array> {
  const beyond = await look()
  if (!beyond) return yield* made()
  onJoined()
  try {
    yield* readJoinedPacks(view, packs, options, beyond.pack)
  } finally {
    beyond.drop()
  }
}

/** Something that is found out in its turn. */
async function inTurn<T>(
  turns: Turns,
  keys: TurnKeys,
  maxMs: number,
  options: WorkOptions,
  what: string,
  find: (options: WorkOptions) => Promise<T>,
): Promise<T> {
  const { inTime, limit, end } = await beginInTurn(turns, keys, maxMs, options, what)
  try {
    return await find(inTime)
  } catch (error) {
    throw limit.explain(error)
  } finally {
    end()
  }
}

/** With the scope it says everything that shapes an answer: tags that go along depend on the refs, all else follows from the request. */
function keyOf({ versions }: Snapshot, request: PackRequest): string {
  const { wants, includeTag, ...rest } = request
  return JSON.stringify([includeTag ? versions.refsVer : 0, [...new Set(wants)].toSorted(), rest])
}

/** From packs as they stand; undefined: it takes a walk. */
function readStoredAnswer(view: Snapshot, request: PackRequest, options: WorkOptions): AsyncIterable<Uint8Array> | undefined {
  const stored = findStoredAnswer(view, request)
  if (stored !== -1) return readStoredPack(view, stored, options)
  const blobless = findBlobless(view, request)
  if (blobless !== -1) return readStoredPack(view, blobless, options)
  const joined = findJoinedAnswer(view, request)
  return joined && readJoinedPacks(view, [joined.meta, joined.blobs], options)
}

/** The same chunks until something is purged from the repository, and how they ended. */
async function* watched(view: Snapshot, chunks: AsyncIterable<Uint8Array>, onEnd: (outcome: AnswerOutcome) => void): AsyncGenerator<Uint8Array> {
  let outcome: AnswerOutcome = 'left'
  try {
    for await (const chunk of chunks) {
      view.checkEra()
      yield chunk
    }
    outcome = 'sent'
  } catch (error) {
    if (!(error instanceof ProtocolError && error.code === 'cancelled')) outcome = 'failed'
    throw error
  } finally {
    onEnd(outcome)
  }
}
