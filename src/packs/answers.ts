import { answerPack } from '../../protocol/pack/writer.js'
import type { AnswerCache, AnswerPack, Reaches } from '../../protocol/ports.js'
import { reaches } from '../../protocol/reachable.js'
import { AnswerMemory } from './answer-cache.js'
import { RepoSnapshot, type Snapshot } from './snapshot.js'
import { findStoredAnswer, readStoredPack } from './stored-answer.js'

export interface Answers {
  readonly answer: AnswerPack
  readonly reaches: Reaches
  /** Answers of the repository in this state that were given before. */
  cacheFor(view: Snapshot): AnswerCache
}

export interface AnswersOptions {
  /** Memory for answers that are kept. */
  readonly answerBytes: number
  /** Where packs are made; by default on this thread, in the caller's slices. */
  readonly jobs?: { readonly answer: AnswerPack; readonly reaches: Reaches }
}

/** How this hub answers fetches: from a stored pack as it stands if that can be, else by a walk. */
export function createAnswers({ answerBytes, jobs = { answer: answerPack, reaches } }: AnswersOptions): Answers {
  const memory = new AnswerMemory({ maxBytes: answerBytes })
  return {
    answer(view, request, options) {
      const stored = view instanceof RepoSnapshot ? findStoredAnswer(view, request) : -1
      return stored === -1 ? jobs.answer(view, request, options) : readStoredPack(view as Snapshot, stored, options)
    },
    reaches: jobs.reaches,
    // Tags that go along depend on the refs; all else follows from the wants.
    cacheFor: ({ repoId, versions }) => memory.within(`${repoId} ${versions.purgeEpoch} ${versions.refsVer}`),
  }
}
