import { parsePointer, maxPointerBytes, type Pointer } from '../../lfs/pointer.js'
import { commitLinks } from '../../protocol/objects/commit.js'
import { oidBytes } from '../../protocol/oid.js'
import type { PackView, Slices } from '../../protocol/ports.js'
import { objectTypes, type ObjectType, type Oid } from '../../protocol/types.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { Packs } from '../packs/packs.js'
import { createBlobReader, type BlobReader, type ByteRange } from './blob-reader.js'
import { findTreeEntry } from './find-tree-entry.js'
import { splitAddress, type AddressedFile, type FileAddress } from './revisions.js'

/** A file as git has it. */
export interface RepoFile {
  readonly blob: Oid
  /** Bytes of the blob. */
  readonly size: number
  /** The blob stands for a large object. */
  readonly pointer?: Pointer
}

export interface FoundFile extends AddressedFile {
  /** Undefined: there is nothing at the path, or a directory, or a submodule. A symbolic link is a file with its target in it. */
  readonly file: RepoFile | undefined
}

/** Single files of repositories. Who may read was settled before. */
export interface RepoFiles {
  /**
   * What is at an address. Without SQL and without reading a pack where it was asked for lately.
   * @throws HubError `revision-not-found`, `corrupt`
   */
  findFile(repo: RepoState, address: FileAddress, signal: AbortSignal): Promise<FoundFile>
  /**
   * Bytes of a file that was found, as git has them.
   * @throws ProtocolError `corrupt`, HubError `busy`, also from the stream
   */
  readFile(repo: RepoState, file: RepoFile, options: { readonly range: ByteRange; readonly signal: AbortSignal }): AsyncIterable<Uint8Array>
}

export interface RepoFilesDependencies {
  readonly packs: Packs
  readonly slices: (signal: AbortSignal) => Slices
}

/** Addresses whose answer is remembered, the absent ones as well, and the longest path that is: some 10 MiB at most. */
const maxRemembered = 10_000
const maxRememberedPath = 512

export function createRepoFiles({ packs, slices }: RepoFilesDependencies): RepoFiles {
  const blobs = createBlobReader()
  /** By repository, commit and path; least recently used first. What a commit holds never changes. */
  const remembered = new Map<string, RepoFile | null>()

  async function fileAt(view: PackView, repoId: number, { commit, path }: AddressedFile, signal: AbortSignal): Promise<RepoFile | undefined> {
    if (path.length > maxRememberedPath) return lookUp({ view, blobs, slices: slices(signal), signal }, commit, path)
    const key = `${repoId}:${commit}:${path}`
    let file = remembered.get(key)
    if (file === undefined) file = (await lookUp({ view, blobs, slices: slices(signal), signal }, commit, path)) ?? null
    else remembered.delete(key)
    remembered.set(key, file)
    if (remembered.size > maxRemembered) remembered.delete(remembered.keys().next().value!)
    return file ?? undefined
  }

  return {
    async findFile(repo, address, signal) {
      const snapshot = await packs.openSnapshot(repo.id, repo.versions)
      try {
        const addressed = splitAddress(snapshot, address)
        if (!addressed) throw new HubError('revision-not-found', `Invalid rev id: ${address.segments[0]!.slice(0, 255)}`)
        return { ...addressed, file: await fileAt(snapshot, repo.id, addressed, signal) }
      } finally {
        snapshot.release()
      }
    },

    async *readFile(repo, { blob }, { range, signal }) {
      const snapshot = await packs.openSnapshot(repo.id, repo.versions)
      try {
        yield* blobs.stream(snapshot, entryOf(snapshot, blob, objectTypes.blob), range, signal)
      } finally {
        snapshot.release()
      }
    },
  }
}

interface Lookup {
  readonly view: PackView
  readonly blobs: BlobReader
  readonly slices: Slices
  readonly signal: AbortSignal
}

async function lookUp({ view, blobs, slices, signal }: Lookup, commit: Oid, path: string): Promise<RepoFile | undefined> {
  const read = (oid: Oid, type: ObjectType) => blobs.readWhole(view, entryOf(view, oid, type), signal)
  const names = path.split('/')
  // Before a tree is read: no path of git has these.
  if (names.some((name) => name === '' || name.includes('\0'))) return undefined
  let { tree } = commitLinks(await read(commit, objectTypes.commit))
  for (const [depth, name] of names.entries()) {
    const pause = slices.pause()
    if (pause) await pause
    const entry = await findTreeEntry(await read(tree, objectTypes.tree), name, slices)
    if (!entry || entry.mode === '160000') return undefined
    if (depth < names.length - 1) {
      if (entry.mode !== '40000') return undefined
      tree = entry.oid
      continue
    }
    if (entry.mode === '40000') return undefined
    const size = view.sizeOf(entryOf(view, entry.oid, objectTypes.blob))
    const mayPoint = size <= maxPointerBytes && entry.mode !== '120000'
    const pointer = mayPoint ? parsePointer(await read(entry.oid, objectTypes.blob)) : undefined
    return { blob: entry.oid, size, ...(pointer ? { pointer } : {}) }
  }
  return undefined
}

function entryOf(view: PackView, oid: Oid, type: ObjectType): number {
  const entry = view.find(oidBytes(oid), 'read')
  if (entry === -1 || view.typeOf(entry) !== type) throw new HubError('corrupt', `object ${oid} does not read back`)
  return entry
}
