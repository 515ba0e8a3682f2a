import { EwahBuilder, runAt, wordBits, type Ewah } from './ewah.js'

/** A set of bits as they are: an eighth of a byte each. */
export class BitSet {
  readonly count: number
  /** An even number of halves of words, low ones first. */
  readonly #halves: Uint32Array

  /** Of bits 0 to `count`, exclusive; none is set. */
  constructor(count: number) {
    this.count = count
    this.#halves = new Uint32Array(Math.ceil(count / wordBits) * 2)
  }

  has(bit: number): boolean {
    return (this.#halves[bit >>> 5]! & (1 << (bit & 31))) !== 0
  }

  set(bit: number): void {
    this.#halves[bit >>> 5]! |= 1 << (bit & 31)
  }

  clear(): void {
    this.#halves.fill(0)
  }

  /** Takes in what is set there. */
  or(ewah: Ewah): void {
    this.#apply(ewah, (at, value) => (this.#halves[at]! |= value))
  }

  /** Turns around what is set there. */
  xor(ewah: Ewah): void {
    this.#apply(ewah, (at, value) => (this.#halves[at]! ^= value))
  }

  orSet(set: BitSet): void {
    const other = set.#halves
    for (let i = 0; i < other.length; i++) this.#halves[i]! |= other[i]!
  }

  andSet(set: BitSet): void {
    const other = set.#halves
    for (let i = 0; i < other.length; i++) this.#halves[i]! &= other[i]!
  }

  andNotSet(set: BitSet): void {
    const other = set.#halves
    for (let i = 0; i < other.length; i++) this.#halves[i]! &= ~other[i]!
  }

  /** How many are set. */
  size(): number {
    let size = 0
    for (const half of this.#halves) size += onesIn(half)
    return size
  }

  /** Every bit that is set, in ascending order. */
  each(visit: (bit: number) => void): void {
    const halves = this.#halves
    for (let i = 0; i < halves.length; i++) {
      for (let rest = halves[i]!; rest !== 0; rest &= rest - 1) visit(i * 32 + 31 - Math.clz32(rest & -rest))
    }
  }

  toEwah(): Ewah {
    const builder = new EwahBuilder()
    const halves = this.#halves
    for (let i = 0; i < halves.length; i += 2) builder.addWord(halves[i]!, halves[i + 1]!)
    return builder.finish()
  }

  #apply({ words }: Ewah, put: (at: number, value: number) => void): void {
    let to = 0
    for (let at = 0; at < words.length; ) {
      const run = runAt(words, at)
      at += 2
      if (run.ones) for (let i = 0; i < run.words * 2; i++) put(to + i, 0xffffffff)
      to += run.words * 2
      for (let i = 0; i < run.literals * 2; i++) put(to++, words[at++]!)
    }
  }
}

function onesIn(half: number): number {
  let ones = half - ((half >>> 1) & 0x55555555)
  ones = (ones & 0x33333333) + ((ones >>> 2) & 0x33333333)
  return Math.imul((ones + (ones >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
