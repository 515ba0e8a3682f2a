import { answerPack } from '../../protocol/pack/writer.js'
import { reaches } from '../../protocol/reachable.js'
import type { AnswerPack, Reaches } from '../../protocol/ports.js'

export interface Answers {
  readonly answer: AnswerPack
  readonly reaches: Reaches
}

/** How this hub answers fetches: on the main thread, in the slices of the caller. Workers would come in here, and no caller would change. */
export const createAnswers = (): Answers => ({ answer: answerPack, reaches })
