/** Whole numbers from 0 up to `below`, which is not among them. */
export type Dice = (below: number) => number

/** A sequence that looks random and is the same every time. */
export function dice(seed: number): Dice {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return Math.floor((state / 0x80000000) * below)
  }
}
