import { oidFromBytes } from '../../protocol/oid.js'
import type { RefTable } from '../../protocol/ports.js'
import { firstBlockFrom, firstRefFrom, RefBlock } from '../../protocol/ref-block.js'
import type { Ref, RefName } from '../../protocol/types.js'

/** Refs that only the hub itself uses. Nobody else sees them. */
const hiddenPrefix = 'refs/internal/'
/** Refs a block begins with, and what it may grow to: a push of one commit makes one block anew. */
const blockRefs = 256
const maxBlockRefs = 2 * blockRefs
/** What a ref costs beside its line once somebody has asked for objects, bytes, roughly. */
const refBytes = 300

/** A ref as the database has it: bytes. */
export interface RefBytes {
  readonly name: Uint8Array
  readonly oid: Uint8Array
  readonly peeled: Uint8Array | null
}

/** The refs for another thread: what HEAD names, and the lines of the blocks. Nothing is copied. */
export interface SharedRefs {
  readonly head: RefName
  readonly blocks: readonly SharedArrayBuffer[]
}

/** What became of refs: undefined, it is gone. */
export type RefChanges = ReadonlyMap<RefName, Ref | undefined>

/** The refs of one moment, sorted bytewise by name, hidden ones left out. A list shares with the one it was made of what did not change. */
export class RefList implements RefTable {
  readonly head: RefName
  #blocks: readonly RefBlock[] | undefined
  #list: readonly Ref[] | undefined
  readonly #shared: readonly SharedArrayBuffer[] | undefined

  private constructor(head: RefName, blocks: readonly RefBlock[] | undefined, shared?: readonly SharedArrayBuffer[]) {
    this.head = head
    this.#blocks = blocks
    this.#shared = shared
  }

  static of(head: Uint8Array, rows: readonly RefBytes[]): RefList {
    const list = rows.map(toRef).filter(({ name }) => !isHiddenRef(name))
    return new RefList(latin1(head) as RefName, RefBlock.of(list, blockRefs))
  }

  /** The same refs but for what changed. Costs what the blocks cost that a change falls into. */
  with(head: Uint8Array, changes: RefChanges): RefList {
    const names = [...changes.keys()].filter((name) => !isHiddenRef(name)).toSorted()
    const { blocks } = this
    const made: RefBlock[] = []
    let at = 0
    for (let i = 0; i < blocks.length || at < names.length; i++) {
      const block = blocks[i]
      // What comes between two blocks goes to the first of them.
      const next = blocks[i + 1]?.first
      const from = at
      while (at < names.length && (next === undefined || names[at]! < next)) at++
      if (block && at === from) made.push(block)
      else pushRefs(made, changed(block?.refs ?? [], names.slice(from, at), changes))
    }
    return new RefList(latin1(head) as RefName, made)
  }

  get blocks(): readonly RefBlock[] {
    return (this.#blocks ??= this.#shared!.map((lines) => new RefBlock(lines)))
  }

  get list(): readonly Ref[] {
    return (this.#list ??= this.blocks.flatMap(({ refs }) => refs))
  }

  get count(): number {
    return this.blocks.reduce((sum, { count }) => sum + count, 0)
  }

  find(name: RefName): Ref | undefined {
    const refs = this.blocks[firstBlockFrom(this.blocks, name)]?.refs ?? []
    const ref = refs[firstRefFrom(refs, name)]
    return ref?.name === name ? ref : undefined
  }

  /** Memory it may come to hold, bytes, roughly. */
  get bytes(): number {
    return this.blocks.reduce((sum, { count, lines }) => sum + count * refBytes + lines.length, 0)
  }

  /** For a worker; `fromShared` reads it. */
  get shared(): SharedRefs {
    return { head: this.head, blocks: this.blocks.map(({ lines }) => lines.buffer) }
  }

  /** Nothing is read before somebody asks: most work in another thread needs no refs. */
  static fromShared({ head, blocks }: SharedRefs): RefList {
    return new RefList(head, undefined, blocks)
  }
}

export const isHiddenRef = (name: RefName): boolean => name.startsWith(hiddenPrefix)

/** `refs` with the changes to `names`, which are sorted. */
function changed(refs: readonly Ref[], names: readonly RefName[], changes: RefChanges): Ref[] {
  const made: Ref[] = []
  let at = 0
  for (const name of names) {
    const to = firstRefFrom(refs, name)
    for (; at < to; at++) made.push(refs[at]!)
    const ref = changes.get(name)
    if (ref) made.push(ref)
    if (refs[at]?.name === name) at++
  }
  for (; at < refs.length; at++) made.push(refs[at]!)
  return made
}

/** Adds refs as blocks. Few are put to the block before, so that many deletes do not leave many blocks of one. */
function pushRefs(blocks: RefBlock[], refs: readonly Ref[]): void {
  const before = blocks.at(-1)
  if (before && refs.length > 0 && refs.length + before.count <= blockRefs) blocks.splice(-1, 1, ...RefBlock.of([...before.refs, ...refs], blockRefs))
  else blocks.push(...RefBlock.of(refs, refs.length > maxBlockRefs ? blockRefs : maxBlockRefs))
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

/** A row as refs are kept in memory. */
export const toRef = ({ name, oid, peeled }: RefBytes): Ref => ({
  name: latin1(name) as RefName,
  oid: oidFromBytes(oid),
  ...(peeled ? { peeled: oidFromBytes(peeled) } : {}),
})
