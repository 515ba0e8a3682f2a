/** What a fold weighs. */
export interface FoldablePack {
  readonly id: number
  readonly objects: number
  readonly bytes: number
  readonly inline: boolean
}

export interface FoldLimits {
  /** Inline packs, and their bytes together, that may stand side by side. */
  readonly maxInline: number
  readonly maxInlineBytes: number
  /** Packs of either kind before it is looked whether they form a progression. */
  readonly maxPacks: number
  /** Of what is made: a pack over it could not have been pushed. */
  readonly maxObjects: number
  readonly maxBytes: number
}

export const foldLimits: Omit<FoldLimits, 'maxBytes'> = { maxInline: 64, maxInlineBytes: 8 * 1024 * 1024, maxPacks: 12, maxObjects: 5_000_000 }

/** Each pack is to weigh this many times what all lighter ones do together. */
const factor = 2
/** So many bytes weigh as much as one object: a lookup goes through packs, a copy through bytes. */
const bytesPerObject = 1024

/**
 * The packs to be folded into one, by id; none: they are well as they are. The lighter ones go, so many that what is made and what is left
 * form a geometric progression: then there are few packs, and a byte is copied only as often as the repository doubles.
 * @see git's own `git repack --geometric`
 */
export function planFold(packs: readonly FoldablePack[], limits: FoldLimits): readonly number[] {
  const inline = packs.filter((pack) => pack.inline)
  const tooInline = inline.length > limits.maxInline || sum(inline, ({ bytes }) => bytes) > limits.maxInlineBytes
  if (!tooInline && packs.length <= limits.maxPacks) return []
  const sorted = packs.toSorted((a, b) => weightOf(a) - weightOf(b) || a.id - b.id)
  let end = firstAbove(sorted)
  if (tooInline) end = Math.max(end, sorted.findLastIndex((pack) => pack.inline) + 1)
  let weight = sum(sorted.slice(0, end), weightOf)
  while (end > 1 && end < sorted.length && weightOf(sorted[end]!) < factor * weight) weight += weightOf(sorted[end++]!)
  while (end > 0 && !fits(sorted.slice(0, end), limits)) end -= 1
  return end < 2 ? [] : sorted.slice(0, end).map(({ id }) => id)
}

/** Below this place the progression is broken; 0: nowhere. */
function firstAbove(sorted: readonly FoldablePack[]): number {
  let end = sorted.length - 1
  while (end > 0 && weightOf(sorted[end]!) >= factor * weightOf(sorted[end - 1]!)) end -= 1
  return end === 0 ? 0 : end + 1
}

const fits = (packs: readonly FoldablePack[], { maxObjects, maxBytes }: FoldLimits): boolean =>
  sum(packs, ({ objects }) => objects) <= maxObjects && sum(packs, ({ bytes }) => bytes) <= maxBytes

const weightOf = ({ objects, bytes }: FoldablePack): number => objects + bytes / bytesPerObject

const sum = <T>(items: readonly T[], of: (item: T) => number): number => items.reduce((total, item) => total + of(item), 0)
