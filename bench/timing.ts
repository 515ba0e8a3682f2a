export async function timed<T>(work: () => Promise<T>): Promise<{ readonly seconds: number; readonly result: T }> {
  const started = performance.now()
  const result = await work()
  return { seconds: (performance.now() - started) / 1000, result }
}

export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Each run, in the order they were made. */
export const secondsText = (values: readonly number[]): string => `${values.map((one) => one.toFixed(2)).join(' ')} s`
export const pairText = (ours: readonly number[], theirs: readonly number[]): string => `${secondsText(ours)}, peer ${secondsText(theirs)}`

export const millisecondsText = (seconds: readonly number[]): string => `${(median(seconds) * 1000).toFixed(1)} ms`
