import { ProtocolError } from '../../protocol/errors.js'
import type { PackLeasing, PackName } from './local-packs.js'
import type { HeldBytes } from './pack-file.js'

/** Who makes sure that a pack's file is here before it is read. */
export interface PackFetch {
  /** Undefined: it is here and stays. By the pack's ordinal. */
  need(pack: number): Promise<void> | undefined
}

/** Who has packs of one snapshot here, by their ordinals. */
export interface PackLeases extends PackFetch {
  /** All of these at once: nobody then waits for room while he has some that others wait for. @throws as `PackLeasing.lease` */
  needAll(packs: readonly number[], signal: AbortSignal | undefined): Promise<void> | undefined
  /** @throws as `PackLeasing.stream` */
  stream(pack: number, signal: AbortSignal | undefined): AsyncIterable<Uint8Array>
}

/** The same for who counts only the packs of `chosen`. */
export const leasesOf = (leases: PackLeases, chosen: readonly number[]): PackLeases => ({
  need: (pack) => leases.need(chosen[pack]!),
  needAll: (packs, signal) =>
    leases.needAll(
      packs.map((pack) => chosen[pack]!),
      signal,
    ),
  stream: (pack, signal) => leases.stream(chosen[pack]!, signal),
})

/** A pack whose file may be taken away while nobody leases it. */
export interface LeasedPack extends PackName {
  readonly file: Pick<HeldBytes, 'pin' | 'unpin'>
}

/** One for all: making one, stack and all, takes longer than the rest of a release. */
const released = new ProtocolError('cancelled', 'the snapshot was released')

/** The packs that one snapshot reads: each is leased when it is first needed, and all until the snapshot is released. */
export class SnapshotLeases implements PackLeases {
  readonly #leasing: PackLeasing
  readonly #packOf: (ordinal: number) => LeasedPack
  readonly #here = new Set<number>()
  readonly #coming = new Map<number, Promise<void>>()
  readonly #ended = new AbortController()
  readonly #undo: (() => void)[] = []

  constructor(leasing: PackLeasing, packOf: (ordinal: number) => LeasedPack) {
    this.#leasing = leasing
    this.#packOf = packOf
  }

  need(pack: number): Promise<void> | undefined {
    if (this.#here.has(pack)) return undefined
    let coming = this.#coming.get(pack)
    if (!coming) {
      coming = this.#take([pack], this.#ended.signal).finally(() => this.#coming.delete(pack))
      this.#coming.set(pack, coming)
    }
    return coming
  }

  needAll(packs: readonly number[], signal: AbortSignal | undefined): Promise<void> | undefined {
    const missing = packs.filter((pack) => !this.#here.has(pack))
    return missing.length === 0 ? undefined : this.#take(missing, signal ? AbortSignal.any([signal, this.#ended.signal]) : this.#ended.signal)
  }

  stream(pack: number, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    return this.#leasing.stream(this.#packOf(pack), signal)
  }

  /** Once. */
  release(): void {
    this.#ended.abort(released)
    for (const undo of this.#undo.splice(0)) undo()
  }

  async #take(ordinals: readonly number[], signal: AbortSignal): Promise<void> {
    const packs = ordinals.map((ordinal) => this.#packOf(ordinal))
    const lease = await this.#leasing.lease(packs, signal)
    if (this.#ended.signal.aborted) {
      lease.release()
      throw released
    }
    for (const { file } of packs) file.pin()
    this.#undo.push(() => void Promise.all(packs.map(({ file }) => file.unpin())).then(() => lease.release()))
    for (const ordinal of ordinals) this.#here.add(ordinal)
  }
}
