import type { PackSet } from './snapshot.js'

/**
 * Some packs of a set, with ordinals of their own: as `chosen` lists the old ones, which has to be in ascending order. What is looked up there is
 * found in these packs or not at all.
 */
export function subsetOf(set: PackSet, chosen: readonly number[]): PackSet {
  const chosenStored = chosen.filter((ordinal) => ordinal < set.stored.length)
  const stored = chosenStored.map((ordinal) => set.stored[ordinal]!)
  const numbers = Int32Array.from(chosen.slice(stored.length), (ordinal) => set.numbers[ordinal - set.stored.length]!)
  const ordinals = new Int32Array(set.ordinals.length).fill(-1)
  for (const [i, number] of numbers.entries()) ordinals[number] = stored.length + i
  const creditStored = chosenStored.filter((ordinal) => ordinal < set.creditStored).length
  return {
    packs: chosen.map((ordinal) => set.packs[ordinal]!),
    stored,
    inline: set.inline,
    numbers,
    ordinals,
    credit: set.credit,
    creditStored,
    allCredit: creditStored === stored.length && numbers.every((number) => set.credit[number] === 1),
  }
}
