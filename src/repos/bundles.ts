import { encodeBundleHeader, type BundleRef } from '../../protocol/bundle.js'
import { oidBytes } from '../../protocol/oid.js'
import type { Slices } from '../../protocol/ports.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'
import { readJoinedPacks } from '../packs/joined-answer.js'
import { findPair, type PackPair } from '../packs/pack-pair.js'
import type { Packs } from '../packs/packs.js'
import type { Snapshot } from '../packs/snapshot.js'
import { visibilityClass } from './ref-changes.js'

/** What a collection made of a large repository, as one file that git can clone from: `clone --bundle-uri`, `transfer.bundleURI`. */
export interface Bundle {
  /** Names it in its repository: the SHA-256 of its first pack, in hex. */
  readonly name: string
  /** Rises with every newer one. */
  readonly number: number
}

export interface BundleDependencies {
  readonly packs: Pick<Packs, 'openSnapshot'>
  readonly slices: (signal: AbortSignal) => Slices
  /** A repository whose packs are smaller offers none: a clone is as fast without. */
  readonly minBundleBytes?: number
}

export interface Bundles {
  /** Undefined: there is none. */
  findBundle(repo: RepoState): Promise<Bundle | undefined>
  /**
   * The bytes of a bundle. A chunk is valid until the next.
   * @throws HubError `not-found` when a newer one has taken its place
   */
  openBundle(repo: RepoState, name: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>
}

const byDefaultBytes = 50 * 1024 * 1024

export function createBundles({ packs, slices, minBundleBytes = byDefaultBytes }: BundleDependencies): Bundles {
  const find = (view: Snapshot): (PackPair & Bundle) | undefined => {
    const pair = findPair(view)
    if (!pair || refsOf(view, pair).length === 0) return undefined
    const [meta, blobs] = [view.packs[pair.meta]!, view.packs[pair.blobs]!]
    if (meta.bytes + blobs.bytes < minBundleBytes) return undefined
    return { ...pair, name: Buffer.from(meta.sha256).toString('hex'), number: meta.id }
  }
  return {
    async findBundle(repo) {
      const view = await packs.openSnapshot(repo.id, repo.versions)
      try {
        const bundle = find(view)
        return bundle && { name: bundle.name, number: bundle.number }
      } finally {
        view.release()
      }
    },
    async openBundle(repo, name, signal) {
      const view = await packs.openSnapshot(repo.id, repo.versions)
      const bundle = find(view)
      if (bundle?.name === name) return streamBundle(view, bundle, slices(signal))
      view.release()
      throw new HubError('not-found', 'there is no such bundle, or no longer')
    },
  }
}

/** Branches and tags whose objects the bundle has, which are all but those that were pushed since. */
function refsOf(view: Snapshot, { meta }: PackPair): BundleRef[] {
  const refs: BundleRef[] = view.refs.list.filter(({ name, oid }) => visibilityClass(name) === 0 && view.findIn(meta, oidBytes(oid)) !== -1)
  const head = refs.find(({ name }) => name === view.refs.head)
  return head ? [{ oid: head.oid, name: 'HEAD' }, ...refs] : refs
}

async function* streamBundle(view: Snapshot, pair: PackPair, slices: Slices): AsyncGenerator<Uint8Array> {
  try {
    yield* encodeBundleHeader({ refs: refsOf(view, pair) })
    for await (const chunk of readJoinedPacks(view, [pair.meta, pair.blobs], { slices })) {
      view.checkEra()
      yield chunk
    }
  } finally {
    view.release()
  }
}
