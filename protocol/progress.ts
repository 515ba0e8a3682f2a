import { humanLine } from './human-text.js'
import type { Progress } from './ports.js'
import { bandPkts, bands } from './side-band.js'

/** Without a total, a line is worth sending when the count has grown by this part. */
const growth = 1.1
/** The least first count that is worth a line. */
const firstCount = 100

/**
 * Turns progress into band 2 text as git writes it: `Counting objects:  42% (42/100)\r`, and `, done.\n` at the end of each title.
 * No clock: a line is due when the percentage changes, or the count has grown by a tenth. Of lines nobody took yet, only the latest is kept.
 */
export class ProgressLines {
  /** Called when there is something to take. */
  wake: () => void = () => {}
  #lines = ''
  #update = ''
  #last: Progress | undefined
  #finished = ''
  #shown = -1

  report(progress: Progress): void {
    if (progress.title === this.#finished) return
    if (this.#last && this.#last.title !== progress.title) this.finish()
    if (!this.#last) this.#shown = -1
    this.#last = progress
    const { done, total } = progress
    if (total > 0 && done >= total) return this.finish()
    const mark = total > 0 ? Math.floor((100 * done) / total) : done
    const due = total > 0 ? mark !== this.#shown : mark >= Math.max(firstCount, this.#shown * growth)
    if (!due) return
    this.#shown = mark
    this.#update = `${lineOf(progress)}\r`
    this.wake()
  }

  /** The current title is over, however far it came. */
  finish(): void {
    if (!this.#last) return
    this.#lines += `${lineOf(this.#last)}, done.\n`
    this.#update = ''
    this.#finished = this.#last.title
    this.#last = undefined
    this.wake()
  }

  /** Something else to be read by who waits, a line of its own. */
  say(line: string): void {
    this.finish()
    this.#lines += `${humanLine(line)}\n`
    this.wake()
  }

  /** What is to be sent now, framed on band 2. */
  take(maxBytes: 1000 | 65_520): Buffer | undefined {
    const text = this.#lines + this.#update
    if (text === '') return undefined
    this.#lines = ''
    this.#update = ''
    return bandPkts(bands.progress, Buffer.from(text), maxBytes)
  }
}

function lineOf({ title, done, total }: Progress): string {
  const name = humanLine(title)
  if (total <= 0) return `${name}: ${done}`
  return `${name}: ${String(Math.floor((100 * done) / total)).padStart(3)}% (${done}/${total})`
}
