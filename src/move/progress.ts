/** What has been copied so far, in lines for a person. */
export interface Progress {
  /** A blob that needs no copying, or is done. */
  done(blobs: number, bytes: number): void
  /** Bytes that went over just now. */
  went(bytes: number): void
  /** One more line now, and no others. */
  end(): void
}

export interface ProgressOptions {
  /** Of all. */
  readonly blobs: number
  readonly bytes: number
  readonly say: (line: string) => void
  readonly everyMs?: number
}

export function startProgress({ blobs, bytes, say, everyMs = 5_000 }: ProgressOptions): Progress {
  const started = performance.now()
  let doneBlobs = 0
  let doneBytes = 0
  let copied = 0
  const line = (): string => {
    const seconds = (performance.now() - started) / 1000
    const rate = copied / Math.max(seconds, 0.001)
    const left = Math.max(0, bytes - doneBytes)
    const speed = copied === 0 ? '' : `, ${bytesText(rate)}/s${left === 0 ? '' : `, ${timeText(left / rate)} left`}`
    return `${countText(doneBlobs)} of ${countText(blobs)} objects, ${bytesText(doneBytes)} of ${bytesText(bytes)}${speed}`
  }
  const timer = setInterval(() => say(line()), everyMs)
  return {
    done(more, moreBytes) {
      doneBlobs += more
      doneBytes += moreBytes
    },
    went(more) {
      copied += more
    },
    end() {
      clearInterval(timer)
      say(line())
    },
  }
}

const countText = (n: number): string => n.toLocaleString('en')

const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `512 bytes`, `1.5 GiB`. */
export function bytesText(bytes: number): string {
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  return `${step === 0 ? Math.round(bytes) : (bytes / 1024 ** step).toFixed(1)} ${units[step]}`
}

/** `40 s`, `12 min`, `3.5 h`. */
export function timeText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  return seconds < 90 * 60 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}
