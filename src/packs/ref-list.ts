import { oidFromBytes } from '../../protocol/oid.js'
import type { RefTable } from '../../protocol/ports.js'
import type { Ref, RefName } from '../../protocol/types.js'

/** Refs that only the hub itself uses. Nobody else sees them. */
const hiddenPrefix = 'refs/internal/'

/** A ref as the database has it: bytes. */
export interface RefBytes {
  readonly name: Uint8Array
  readonly oid: Uint8Array
  readonly peeled: Uint8Array | null
}

/** The refs of one moment, sorted bytewise by name, hidden ones left out. */
export class RefList implements RefTable {
  readonly head: RefName
  readonly list: readonly Ref[]

  private constructor(head: RefName, list: readonly Ref[]) {
    this.head = head
    this.list = list
  }

  static of(head: Uint8Array, rows: readonly RefBytes[]): RefList {
    const list = rows.map(toRef).filter(({ name }) => !name.startsWith(hiddenPrefix))
    return new RefList(latin1(head) as RefName, list)
  }

  find(name: RefName): Ref | undefined {
    let low = 0
    let high = this.list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const ref = this.list[middle]!
      if (ref.name === name) return ref
      if (ref.name < name) low = middle + 1
      else high = middle
    }
    return undefined
  }

  /** Memory held, bytes, roughly. */
  get bytes(): number {
    return this.list.length * 300
  }

  /** For a worker: one buffer, made once. `fromShared` reads it. */
  get shared(): SharedArrayBuffer {
    return (this.#shared ??= encode(this))
  }

  #shared: SharedArrayBuffer | undefined

  static fromShared(shared: SharedArrayBuffer): RefList {
    const [head = '', ...lines] = Buffer.from(shared).toString('latin1').split('\n')
    return new RefList(
      head as RefName,
      lines.map((line) => {
        const [oid, peeled, name] = [line.slice(0, 40), line.slice(40, 80).trim(), line.slice(80)]
        return { name, oid, ...(peeled === '' ? {} : { peeled }) } as Ref
      }),
    )
  }
}

/** HEAD, then a line for each ref: oid, peeled oid or blanks, name. No ref name has a line feed in it. */
function encode({ head, list }: RefList): SharedArrayBuffer {
  const text = [head, ...list.map(({ oid, peeled = '', name }) => oid + peeled.padEnd(40) + name)].join('\n')
  const bytes = Buffer.from(text, 'latin1')
  const shared = new SharedArrayBuffer(bytes.length)
  new Uint8Array(shared).set(bytes)
  return shared
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

const toRef = ({ name, oid, peeled }: RefBytes): Ref => ({
  name: latin1(name) as RefName,
  oid: oidFromBytes(oid),
  ...(peeled ? { peeled: oidFromBytes(peeled) } : {}),
})
