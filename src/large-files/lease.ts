import { HubError } from '../errors.js'

/** Says again and again, until it is ended, that work goes on. */
export interface Lease {
  /** Aborted with a HubError `busy` when somebody took the work for dead. */
  readonly lost: AbortSignal
  end(): void
}

/** `renew` comes back with false when there is nothing to renew any more. One that throws is tried again. */
export function holdLease(renew: () => Promise<boolean>, everyMs: number): Lease {
  const controller = new AbortController()
  const timer = setInterval(() => {
    void renew().then(
      (held) => {
        if (!held) controller.abort(new HubError('busy', 'the upload was given up, send it again'))
      },
      () => undefined, // the database may be back in time
    )
  }, everyMs)
  timer.unref()
  return { lost: controller.signal, end: () => clearInterval(timer) }
}
