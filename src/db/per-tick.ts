interface Waiting<Question, Answer> {
  readonly question: Question
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Has all that is asked in one turn of the event loop answered at once, up to `most` at a time. `answer` gives one answer a question, in their
 * order; when it throws, everybody who asked along gets to know.
 */
export function perTick<Question, Answer>(
  answer: (questions: readonly Question[]) => Promise<readonly Answer[]>,
  most: number,
): (question: Question) => Promise<Answer> {
  let waiting: Waiting<Question, Answer>[] = []

  const answerAll = async (batch: readonly Waiting<Question, Answer>[]): Promise<void> => {
    try {
      const answers = await answer(batch.map(({ question }) => question))
      batch.forEach(({ resolve, reject }, i) => (i < answers.length ? resolve(answers[i]!) : reject(new Error('a question without an answer'))))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  const flush = (): void => {
    const all = waiting
    waiting = []
    for (let at = 0; at < all.length; at += most) void answerAll(all.slice(at, at + most))
  }

  return (question) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ question, resolve, reject }) === 1) setImmediate(flush)
    })
}
