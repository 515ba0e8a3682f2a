import { EwahBuilder, runAt, type Ewah } from './ewah.js'

/** Of half a word each. */
type Operation = (a: number, b: number) => number

/** Both. */
export const andEwah = (a: Ewah, b: Ewah): Ewah => combine(a, b, (x, y) => x & y)
/** Either. */
export const orEwah = (a: Ewah, b: Ewah): Ewah => combine(a, b, (x, y) => x | y)
/** One and not the other. */
export const xorEwah = (a: Ewah, b: Ewah): Ewah => combine(a, b, (x, y) => x ^ y)
/** The first and not the second. */
export const andNotEwah = (a: Ewah, b: Ewah): Ewah => combine(a, b, (x, y) => x & ~y)

/** Run by run where both are in one; nothing is unpacked. */
function combine(a: Ewah, b: Ewah, operation: Operation): Ewah {
  const [of, to] = [new EwahCursor(a), new EwahCursor(b)]
  const builder = new EwahBuilder()
  for (;;) {
    of.settle()
    to.settle()
    const words = Math.min(of.words, to.words)
    if (words === Number.POSITIVE_INFINITY) return builder.finish()
    if (of.inRun && to.inRun) {
      builder.addRun(operation(of.fill, to.fill) !== 0, words)
    } else {
      for (let i = 0; i < words; i++) builder.addWord(operation(of.low(i), to.low(i)), operation(of.high(i), to.high(i)))
    }
    of.skip(words)
    to.skip(words)
  }
}

/** A place in a bitmap: in a run, or among the words behind one. Behind the end zeros go on for ever. */
class EwahCursor {
  /** Words of the same kind from here on. */
  words = 0
  inRun = false
  /** In a run: the bits of half a word. */
  fill = 0
  readonly #data: Uint32Array
  #at = 0
  #literals = 0

  constructor({ words }: Ewah) {
    this.#data = words
  }

  /** Goes on to what is there, where something has ended. */
  settle(): void {
    while (this.words === 0) {
      if (this.#literals > 0) {
        this.inRun = false
        this.words = this.#literals
        this.#literals = 0
      } else if (this.#at < this.#data.length) {
        const run = runAt(this.#data, this.#at)
        this.inRun = true
        this.fill = run.ones ? -1 : 0
        this.words = run.words
        this.#literals = run.literals
        this.#at += 2
      } else {
        this.inRun = true
        this.fill = 0
        this.words = Number.POSITIVE_INFINITY
      }
    }
  }

  low(i: number): number {
    return this.inRun ? this.fill : this.#data[this.#at + i * 2]!
  }

  high(i: number): number {
    return this.inRun ? this.fill : this.#data[this.#at + i * 2 + 1]!
  }

  skip(words: number): void {
    this.words -= words
    if (!this.inRun) this.#at += words * 2
  }
}
