import { nameOf, type Base } from './packs.js'

export interface KnownObject {
  readonly object: Base & { readonly data: Buffer }
  readonly refers: readonly string[]
  /** When a ref last led to it, in hours of the model; −1: it need not be there. */
  seenAt: number
}

/** Objects by name, and what they lead to. */
export class ObjectSets extends Map<string, KnownObject> {
  /** Unless it was known before. */
  know(object: KnownObject['object'], refers: readonly string[], seenAt: number): void {
    const oid = nameOf(object)
    if (!this.has(oid)) this.set(oid, { object, refers, seenAt })
  }

  /** The same objects, none of which need be there. */
  unseen(): ObjectSets {
    return new ObjectSets([...this].map(([oid, known]) => [oid, { ...known, seenAt: -1 }]))
  }

  /** All that these lead to, with themselves. */
  closure(...starts: readonly string[]): ReadonlySet<string> {
    const reached = new Set<string>()
    const pending = [...starts]
    for (let oid = pending.pop(); oid !== undefined; oid = pending.pop()) {
      if (reached.has(oid)) continue
      reached.add(oid)
      pending.push(...this.get(oid)!.refers)
    }
    return reached
  }
}
