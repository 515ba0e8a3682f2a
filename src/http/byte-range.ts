/** Bytes `from` (inclusive) to `to` (exclusive). */
export interface ByteRange {
  readonly from: number
  readonly to: number
}

/** What a `Range` header asks of so many bytes. `whole`: nothing, or nothing that has to be heeded. */
export type RangeAsked =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'several' }

const whole: RangeAsked = Object.freeze({ kind: 'whole' })
const unsatisfiable: RangeAsked = Object.freeze({ kind: 'unsatisfiable' })

/**
 * Reads a `Range` header. A part is never empty and lies within `size`; an end beyond it is taken back to it. Another unit than bytes, a
 * range that ends before it begins, and whatever cannot be read are as good as no header.
 *
 * Spec: RFC 9110, 14.1.2 and 14.2.
 */
export function parseRange(header: string | undefined, size: number): RangeAsked {
  const list = /^\s*bytes=(.*)$/is.exec(header ?? '')?.[1]
  if (list === undefined) return whole
  const specs = list
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '')
  if (specs.length === 0 || !specs.every(isRangeSpec)) return whole
  return specs.length === 1 ? partOf(specs[0]!, size) : { kind: 'several' }
}

function isRangeSpec(spec: string): boolean {
  const match = /^(\d*)-(\d*)$/.exec(spec)
  if (!match) return false
  const [, first = '', last = ''] = match
  if (first === '') return last !== ''
  return last === '' || Number(first) <= Number(last)
}

function partOf(spec: string, size: number): RangeAsked {
  const dash = spec.indexOf('-')
  const first = spec.slice(0, dash)
  const last = spec.slice(dash + 1)
  // Numbers past 2^53 come out inexact or infinite, and are past every size all the same.
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const to = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  return from < to ? { kind: 'part', range: { from, to } } : unsatisfiable
}

/** `Content-Range` of a part. */
export const contentRange = ({ from, to }: ByteRange, size: number): string => `bytes ${from}-${to - 1}/${size}`

/** `Content-Range` where no part is sent: how much there is. */
export const contentRangeOfNone = (size: number): string => `bytes */${size}`
