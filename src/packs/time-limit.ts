import { ProtocolError } from '../../protocol/errors.js'

/** A signal that aborts with another one, or once work has taken longer than it may. */
export interface TimeLimit {
  readonly signal: AbortSignal
  /** The clock stands still while somebody else is waited for. */
  pause(): void
  resume(): void
  /** What is to be thrown for an error: that the time was over, if that is why. */
  explain(error: unknown): unknown
  end(): void
}

/** Counts from now on. To be ended. */
export function startTimeLimit(ms: number, outer: AbortSignal | undefined, what: string): TimeLimit {
  const own = new AbortController()
  let left = ms
  let startedAt = 0
  let timer: NodeJS.Timeout | undefined
  let over = false
  const leave = () => own.abort(outer?.reason)
  if (outer?.aborted) leave()
  outer?.addEventListener('abort', leave, { once: true })
  const limit: TimeLimit = {
    signal: own.signal,
    pause() {
      if (timer === undefined) return
      clearTimeout(timer)
      timer = undefined
      left -= performance.now() - startedAt
    },
    resume() {
      if (timer !== undefined) return
      startedAt = performance.now()
      timer = setTimeout(
        () => {
          over = true
          own.abort()
        },
        Math.max(0, left),
      ).unref()
    },
    explain: (error) => (over ? new ProtocolError('too-large', `${what} took more than ${ms / 1000} seconds`, { cause: error }) : error),
    end() {
      limit.pause()
      outer?.removeEventListener('abort', leave)
    },
  }
  limit.resume()
  return limit
}
