import type { Sleep } from './ports.js'

export interface Clock {
  readonly sleep: Sleep
  /** Silence after which a keepalive is due. */
  readonly keepaliveMs: number
  /** The client left. */
  readonly signal: AbortSignal
}

/** What may be said while work goes on. */
export interface Chatter {
  /** Text that waits to be sent. */
  take(): Uint8Array | undefined
  /** What to say after a silence; `undefined`: it is not our turn to speak yet. */
  beat(): Uint8Array | undefined
  /** `wake` is to be called when there is something to take. */
  onWake(wake: () => void): void
}

/** Nobody asks for it, and by default it is an error with all of its stack, which takes a tenth of a millisecond. */
const noReason = null

/**
 * Waits for `work` and comes back with its value, or throws what it throws; meanwhile yields what there is to say, and a beat after each
 * silence of `keepaliveMs`. Once the client has left it waits without a word, so that whatever `work` holds is released before we end.
 */
export async function* attend<T>(work: Promise<T>, chatter: Chatter, clock: Clock): AsyncGenerator<Uint8Array, T> {
  const state = { settled: false, silent: true, due: false }
  let wake = () => {}
  const stop = new AbortController()
  const leave = () => {
    stop.abort(noReason)
    wake()
  }
  const arm = () => {
    state.due = false
    state.silent = true
    clock.sleep(clock.keepaliveMs, stop.signal).then(
      () => {
        state.due = !stop.signal.aborted
        wake()
      },
      () => {}, // a clock that fails means no keepalives; the work goes on
    )
  }
  const settle = () => {
    state.settled = true
    wake()
  }
  work.then(settle, settle)
  chatter.onWake(() => wake())
  clock.signal.addEventListener('abort', leave, { once: true })
  try {
    if (clock.signal.aborted) stop.abort(noReason)
    else arm()
    while (!state.settled) {
      const said = stop.signal.aborted ? undefined : (chatter.take() ?? (state.due && state.silent ? chatter.beat() : undefined))
      if (said) {
        state.silent = false
        yield said
      } else if (state.due) {
        arm()
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    return await work
  } finally {
    stop.abort(noReason)
    clock.signal.removeEventListener('abort', leave)
    // Left by the consumer in the middle: what the work holds must be given back before we are over.
    if (!state.settled) await work.catch(() => {})
  }
}
