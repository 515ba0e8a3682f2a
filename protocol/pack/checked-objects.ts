import { checkObject } from '../objects/check.js'
import { hashObject } from '../objects/hash.js'
import { objectTypes, type ObjectType } from '../types.js'
import { anyType, connectReferences, type Connections, type SpecialBlob } from './connect.js'
import type { IndexLimits } from './index-limits.js'
import type { IndexPartResult } from './index-part.js'
import { noEntry } from './pack-columns.js'
import type { PackIndex } from './pack-index.js'
import { ReferenceSet } from './reference-set.js'

export interface BlobHooks {
  /** Every blob of up to 1,024 bytes; the bytes are valid during the call. */
  inspectBlob?(data: Uint8Array, oid: Uint8Array): void
  /** Every blob of more than `largeBlobBytes`; the bytes are valid during the call. */
  inspectLargeBlob?(data: Uint8Array, oid: Uint8Array): void
}

const smallBlobBytes = 1024

const specialKinds = ['gitmodules', 'gitattributes'] as const

/** Names the objects of a pack, checks each by itself, and keeps what they refer to until all of them are known. */
export class CheckedObjects {
  readonly #largeBlobBytes: number
  readonly #hooks: BlobHooks
  readonly #references: ReferenceSet
  /** By kind: the blobs that trees call .gitmodules and .gitattributes. */
  readonly #special: readonly [ReferenceSet, ReferenceSet]
  /** Whose references are being collected. */
  #referrer = noEntry

  constructor({ maxObjects, largeBlobBytes }: IndexLimits, hooks: BlobHooks) {
    this.#largeBlobBytes = largeBlobBytes
    this.#hooks = hooks
    // A push of few objects may refer to a great many that are there already.
    this.#references = new ReferenceSet(2 * maxObjects)
    this.#special = [new ReferenceSet(maxObjects), new ReferenceSet(maxObjects)]
  }

  /**
   * Takes in the object at a rank while its bytes are at hand, and writes its name at its place in `oids`.
   * @throws ProtocolError `bad-object`, `too-large`
   */
  add(oids: Uint8Array, rank: number, type: ObjectType, data: Buffer): void {
    const oid = hashObject(type, data)
    oids.set(oid, rank * 20)
    this.#referrer = rank
    checkObject(type, data, this.#refer, this.#noteSpecial)
    if (type !== objectTypes.blob) return
    if (data.length <= smallBlobBytes) this.#hooks.inspectBlob?.(data, oid)
    else if (data.length > this.#largeBlobBytes) this.#hooks.inspectLargeBlob?.(data, oid)
  }

  /** What the objects refer to, for another thread. */
  records(): Pick<IndexPartResult, 'references' | 'special'> {
    return {
      references: Uint8Array.from(this.#references.records()),
      special: [Uint8Array.from(this.#special[0].records()), Uint8Array.from(this.#special[1].records())],
    }
  }

  /** Takes in what objects refer to that another thread has checked. @throws ProtocolError `too-large` */
  addRecords({ references, special }: Pick<IndexPartResult, 'references' | 'special'>): void {
    this.#references.addRecords(references)
    this.#special.forEach((blobs, kind) => blobs.addRecords(special[kind]!))
  }

  /**
   * What the objects refer to, given the index of all of them. The last `addedBases` ranks complete a thin pack.
   * @throws ProtocolError `bad-object` when an object is not of the type it is referred to as, `too-large` when trees lie too deep
   */
  connect(index: PackIndex, addedBases: number): Connections {
    const special: SpecialBlob[] = []
    this.#special.forEach((blobs, kind) => {
      for (let number = 0; number < blobs.count; number++) special.push({ kind: specialKinds[kind]!, oid: Uint8Array.from(blobs.oidOf(number)) })
    })
    return { ...connectReferences(index, this.#references, addedBases), special }
  }

  readonly #refer = (bytes: Uint8Array, offset: number, expect: number): void => {
    this.#references.add(bytes, offset, expect, this.#referrer)
  }

  readonly #noteSpecial = (kind: SpecialBlob['kind'], bytes: Uint8Array, offset: number): void => {
    this.#special[specialKinds.indexOf(kind)]!.add(bytes, offset, anyType)
  }
}
