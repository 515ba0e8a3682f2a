/** Up to here comparing is faster than counting. */
const fewOids = 1024

/** Order of two 20-byte oids, bytewise. */
export function compareOids(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): number {
  for (let i = 0; i < 20; i++) {
    const difference = a[aOffset + i]! - b[bOffset + i]!
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * The positions of `count` oids, 20 bytes each, in ascending order of the oids; the oids stay where they are.
 * Oids are as good as random, so a radix sort by their first four bytes leaves hardly anything to compare. Oids made to
 * defeat that only cost as much as comparing all of them.
 */
export function sortOids(oids: Uint8Array, count: number): Uint32Array {
  let order = new Uint32Array(count)
  for (let i = 0; i < count; i++) order[i] = i
  const compare = (a: number, b: number): number => compareOids(oids, a * 20, oids, b * 20)
  if (count <= fewOids) return order.toSorted(compare)

  let other = new Uint32Array(count)
  for (const byte of [2, 0]) {
    const starts = new Uint32Array(65537)
    for (let i = 0; i < count; i++) starts[keyAt(oids, i, byte) + 1]!++
    for (let key = 0; key < 65536; key++) starts[key + 1]! += starts[key]!
    for (let i = 0; i < count; i++) other[starts[keyAt(oids, order[i]!, byte)]!++] = order[i]!
    ;[order, other] = [other, order]
  }
  for (let from = 0; from < count; ) {
    let to = from + 1
    while (to < count && samePrefix(oids, order[from]!, order[to]!)) to++
    if (to - from > 1) order.subarray(from, to).sort(compare)
    from = to
  }
  return order
}

const keyAt = (oids: Uint8Array, position: number, byte: number): number => (oids[position * 20 + byte]! << 8) | oids[position * 20 + byte + 1]!

function samePrefix(oids: Uint8Array, a: number, b: number): boolean {
  for (let i = 0; i < 4; i++) if (oids[a * 20 + i] !== oids[b * 20 + i]) return false
  return true
}

/** `count` oids copied out in the given order. */
export function gatherOids(oids: Uint8Array, order: Uint32Array): Uint8Array {
  const sorted = new Uint8Array(order.length * 20)
  for (let i = 0; i < order.length; i++) {
    const from = order[i]! * 20
    for (let byte = 0; byte < 20; byte++) sorted[i * 20 + byte] = oids[from + byte]!
  }
  return sorted
}
