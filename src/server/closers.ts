/** What was opened one after the other, to be closed in the opposite order. */
export interface Closers {
  readonly push: (closer: () => Promise<void>) => void
  /** Called again, it closes what came since. */
  readonly close: () => Promise<void>
}

export function createClosers(): Closers {
  const closers: (() => Promise<void>)[] = []
  return {
    push: (closer) => void closers.push(closer),
    async close() {
      for (const closer of closers.splice(0).toReversed()) await closer()
    },
  }
}
