import { answerPack } from '../../protocol/pack/writer.js'
import type { AnswerCache, AnswerPack, PackRequest, Reaches, WorkOptions } from '../../protocol/ports.js'
import { reaches } from '../../protocol/reachable.js'
import { AnswerMemory } from './answer-cache.js'
import { RepoSnapshot, type Snapshot } from './snapshot.js'
import { findStoredAnswer, readStoredPack } from './stored-answer.js'
import { startTimeLimit } from './time-limit.js'
import { Turns, type TurnKeys } from './turns.js'
import { workLimits, type WorkLimits } from './work-limits.js'

export interface Answers {
  /** For who asks: a user, or the address of somebody unknown. */
  answerFor(caller: string): AnswerPack
  readonly reaches: Reaches
  /** Answers of the repository in this state that were given before. */
  cacheFor(view: Snapshot): AnswerCache
}

export interface AnswersOptions {
  /** Memory for answers that are kept. */
  readonly answerBytes: number
  /** Where packs are made; by default on this thread, in the caller's slices. */
  readonly jobs?: { readonly answer: AnswerPack; readonly reaches: Reaches }
  readonly limits?: Partial<WorkLimits>
}

/** How this hub answers fetches: from a stored pack as it stands if that can be, else by a walk. */
export function createAnswers({ answerBytes, jobs = { answer: answerPack, reaches }, limits = {} }: AnswersOptions): Answers {
  const { buildsAtOnce, maxBuildMs } = { ...workLimits, ...limits }
  const turns = new Turns(buildsAtOnce)
  const memory = new AnswerMemory({ maxBytes: answerBytes })
  return {
    answerFor: (caller) => (view, request, options) => {
      if (!(view instanceof RepoSnapshot)) return jobs.answer(view, request, options)
      const stored = findStoredAnswer(view, request)
      if (stored !== -1) return readStoredPack(view, stored, options)
      return makeHere(view, request, options, () =>
        makeInTurn(turns, [`repository ${view.repoId}`, caller], maxBuildMs, options, (inTime) => jobs.answer(view, request, inTime)),
      )
    },
    reaches: jobs.reaches,
    // Tags that go along depend on the refs; all else follows from the wants.
    cacheFor: ({ repoId, versions }) => memory.within(`${repoId} ${versions.purgeEpoch} ${versions.refsVer}`),
  }
}

/** A clone goes through all packs: they are fetched together, and before its turn. Who has something already seldom needs all. */
async function* makeHere(
  view: Snapshot,
  { haves }: PackRequest,
  { slices }: WorkOptions,
  make: () => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (haves.length === 0) await view.fetchPacks(slices.signal)
  yield* make()
}

/** A pack made in its turn, which lasts until its first byte: from then on it is the client who sets the pace. */
async function* makeInTurn(
  turns: Turns,
  keys: TurnKeys,
  maxMs: number,
  options: WorkOptions,
  make: (options: WorkOptions) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { slices } = options
  const leave = await turns.take(keys, slices.signal)
  const limit = startTimeLimit(maxMs, slices.signal, 'making the pack')
  try {
    for await (const chunk of make({ ...options, slices: { pause: () => slices.pause(), signal: limit.signal } })) {
      leave()
      limit.pause()
      yield chunk
      limit.resume()
    }
  } catch (error) {
    throw limit.explain(error)
  } finally {
    limit.end()
    leave()
  }
}
