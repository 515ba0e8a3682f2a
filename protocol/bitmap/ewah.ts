import { ProtocolError } from '../errors.js'

/** Bits of a word. */
export const wordBits = 64
/** Each word is two numbers of 32 bits, low one first: so they lie in memory, and so bits are counted. */
const halves = 2

/**
 * A compressed bitmap: runs of equal words, and words between them as they are.
 *
 *     bits u32 · words u32 · u64 × words · place of the last run u32
 *     run    bit 0: its bit · bits 1-32: its words · bits 33-63: words that follow as they are
 *
 * Bits behind the last word are zero. Spec: JavaEWAH; git's Documentation/technical/bitmap-format, "Serialization format for an EWAH bitmap".
 */
export interface Ewah {
  /** Of what it stands for; a multiple of 64 in those made here. */
  readonly bits: number
  readonly words: Uint32Array
  /** Word in which the last run begins. */
  readonly lastRun: number
}

/** Bytes before and behind the words. */
const frameBytes = 12

export const encodedBytes = ({ words }: Ewah): number => frameBytes + words.length * 4

/** Writes the bitmap at `at` of the file; where it ends. */
export function writeEwah(file: Buffer, at: number, { bits, words, lastRun }: Ewah): number {
  file.writeUInt32BE(bits, at)
  file.writeUInt32BE(words.length / halves, at + 4)
  let next = at + 8
  for (let i = 0; i < words.length; i += halves) {
    next = file.writeUInt32BE(words[i + 1]!, next)
    next = file.writeUInt32BE(words[i]!, next)
  }
  return file.writeUInt32BE(lastRun, next)
}

/**
 * The bitmap that begins at `at`, for sets of `count` bits, and where it ends. Every run is within it, and no bit from `count` on is set.
 * @throws ProtocolError `corrupt`
 */
export function readEwah(file: Buffer, at: number, count: number): { readonly ewah: Ewah; readonly end: number } {
  if (at + frameBytes > file.length) throw corrupt('is cut off')
  const bits = file.readUInt32BE(at)
  const number = file.readUInt32BE(at + 4)
  const end = at + frameBytes + number * 8
  if (end > file.length) throw corrupt('is cut off')
  const words = new Uint32Array(number * halves)
  for (let i = 0, from = at + 8; i < words.length; i += halves, from += 8) {
    words[i + 1] = file.readUInt32BE(from)
    words[i] = file.readUInt32BE(from + 4)
  }
  const ewah = { bits, words, lastRun: file.readUInt32BE(end - 4) }
  checkEwah(ewah, count)
  return { ewah, end }
}

function checkEwah({ words }: Ewah, count: number): void {
  const whole = Math.floor(count / wordBits)
  let place = 0
  for (let at = 0; at < words.length; ) {
    const run = runAt(words, at)
    const literalsAt = at + halves
    at = literalsAt + run.literals * halves
    if (at > words.length) throw corrupt('has a run beyond its end')
    if (run.ones && run.words > 0 && place + run.words > whole) throw corrupt('has bits beyond its objects')
    place += run.words
    for (let i = Math.max(0, whole - place); i < run.literals; i++) {
      const rest = place + i === whole ? count % wordBits : 0
      if (bitsFrom(words, literalsAt + i * halves, rest)) throw corrupt('has bits beyond its objects')
    }
    place += run.literals
  }
}

/** True when a word has a bit set from `first` on. */
function bitsFrom(words: Uint32Array, at: number, first: number): boolean {
  const [low, high] = [words[at]!, words[at + 1]!]
  if (first >= 32) return high >>> (first - 32) !== 0
  return high !== 0 || low >>> first !== 0
}

export interface Run {
  readonly ones: boolean
  readonly words: number
  readonly literals: number
}

/** The run at a place of `words`; its literals begin two further on. */
export function runAt(words: Uint32Array, at: number): Run {
  const [low, high] = [words[at]!, words[at + 1]!]
  return { ones: (low & 1) === 1, words: (low >>> 1) + (high & 1) * 2 ** 31, literals: high >>> 1 }
}

/** Puts a bitmap together, word after word. Zeros at its end are left away. */
export class EwahBuilder {
  #words = new Uint32Array(64)
  #length = halves
  /** Where the run stands that is being made, and what it says. */
  #run = 0
  #ones = false
  #runWords = 0
  #literals = 0
  /** Words so far; those that are zero since the last that was not are not written yet. */
  #places = 0
  #zeros = 0

  addWord(low: number, high: number): void {
    if ((low | high) === 0) {
      this.#zeros += 1
    } else if ((low & high) === -1) {
      this.addRun(true, 1)
    } else {
      this.#writeZeros()
      const at = this.#grow()
      this.#words[at] = low
      this.#words[at + 1] = high
      this.#literals += 1
      this.#places += 1
    }
  }

  /** So many words of equal bits. */
  addRun(ones: boolean, words: number): void {
    if (ones) {
      this.#writeZeros()
      this.#extendRun(true, words)
    } else {
      this.#zeros += words
    }
  }

  /** The bitmap; the builder is as new. */
  finish(): Ewah {
    this.#writeRun()
    const ewah = { bits: this.#places * wordBits, words: this.#words.slice(0, this.#length), lastRun: this.#run / halves }
    this.#length = halves
    this.#ones = false
    this.#run = this.#runWords = this.#literals = this.#places = this.#zeros = 0
    return ewah
  }

  #writeZeros(): void {
    if (this.#zeros === 0) return
    this.#extendRun(false, this.#zeros)
    this.#zeros = 0
  }

  #extendRun(ones: boolean, words: number): void {
    if (this.#literals > 0 || (this.#runWords > 0 && this.#ones !== ones)) {
      this.#writeRun()
      this.#run = this.#grow()
      this.#runWords = this.#literals = 0
    }
    this.#ones = ones
    this.#runWords += words
    this.#places += words
  }

  #writeRun(): void {
    this.#words[this.#run] = this.#runWords * 2 + (this.#ones ? 1 : 0)
    this.#words[this.#run + 1] = this.#literals * 2
  }

  /** Room for one more word; where. */
  #grow(): number {
    const at = this.#length
    this.#length += halves
    if (this.#length > this.#words.length) {
      const larger = new Uint32Array(this.#words.length * 2)
      larger.set(this.#words)
      this.#words = larger
    }
    return at
  }
}

const corrupt = (what: string): ProtocolError => new ProtocolError('corrupt', `bitmap ${what}`)
