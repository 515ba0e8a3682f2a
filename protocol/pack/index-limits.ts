import { ProtocolError } from '../errors.js'
import { objectTypeNames, objectTypes, type ObjectType } from '../types.js'

/** What a pack from a stranger may cost. */
export interface IndexLimits {
  readonly maxObjects: number
  /** One object, or one delta, inflated. */
  readonly maxObjectBytes: number
  /** One commit, tree or tag, inflated. */
  readonly maxStructureBytes: number
  /** Everything inflated or made by deltas, bases derived again included. */
  readonly maxInflatedBytes: number
  readonly maxDeltaDepth: number
  /** Blobs of more bytes are shown to `inspectLargeBlob`. */
  readonly largeBlobBytes: number
  /** Deltas and delta bases held at a time, half for each; the ones being worked on come on top. */
  readonly cacheBytes: number
}

const maxRatio = 1000
const ratioFromBytes = 64 * 1024 * 1024

/** @throws ProtocolError `too-large` */
export function checkObjectSize(limits: IndexLimits, type: ObjectType, size: number): void {
  const limit = type === objectTypes.blob ? limits.maxObjectBytes : Math.min(limits.maxStructureBytes, limits.maxObjectBytes)
  if (size > limit) throw tooLarge(objectTypeNames[type], size, limit)
}

export const tooLarge = (what: string, bytes: number, limit: number): ProtocolError =>
  new ProtocolError('too-large', `${what} of ${bytes} bytes is over the limit of ${limit}`)

/** Counts what comes out of a pack against what may. */
export class InflationMeter {
  readonly #limits: IndexLimits
  #bytes = 0

  constructor(limits: IndexLimits) {
    this.#limits = limits
  }

  /** @throws ProtocolError `too-large` */
  add(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#limits.maxInflatedBytes) {
      throw new ProtocolError('too-large', `the pack inflates to more than ${this.#limits.maxInflatedBytes} bytes`)
    }
  }

  /**
   * Deltas make much of little, and honestly; deflate does not.
   * @throws ProtocolError `too-large`
   */
  checkRatio(compressedBytes: number): void {
    if (this.#bytes > ratioFromBytes && this.#bytes > compressedBytes * maxRatio) {
      throw new ProtocolError('too-large', `the pack inflates to more than ${maxRatio} times its size`)
    }
  }
}
