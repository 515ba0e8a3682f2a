import type { RefBlock } from './ref-block.js'
import type { CommandResult, ObjectType, Oid, PushCommand, Ref, RefName } from './types.js'

/**
 * Where an object stands in one snapshot: `packOrdinal * 2 ** 32 + rank`, rank counting in pack order; -1: absent.
 * Ordinals belong to one snapshot and mean nothing in another.
 */
export type Entry = number

/** `read`: any object there is, garbage too. `credit`: only what may be relied on (visibility classes 0 and 1). */
export type FindUse = 'read' | 'credit'

/** The visible refs of a snapshot, sorted bytewise by name. */
export interface RefTable {
  /** What HEAD points at, whether or not that ref exists. */
  readonly head: RefName
  readonly list: readonly Ref[]
  /** Their number, without making the list. */
  readonly count: number
  /** The same as blocks of lines, none empty. */
  readonly blocks: readonly RefBlock[]
  find(name: RefName): Ref | undefined
}

/**
 * One repository, frozen. Lookups are synchronous and cheap; only bytes are asynchronous.
 * A delta's base is always in the same pack.
 */
export interface PackView {
  readonly refs: RefTable
  /** Number of packs; ordinals run from 0. */
  readonly packCount: number
  /** Objects in one pack: ranks run from 0 to this, exclusive. */
  objectsIn(pack: number): number
  /** Entry of the object named by 20 raw bytes, or -1. */
  find(oid: Uint8Array, use: FindUse): Entry
  /** Writes the 20 raw bytes of the entry's oid into `into` at 0. */
  oidOf(entry: Entry, into: Uint8Array): void
  /** Type of the object itself, never "delta". */
  typeOf(entry: Entry): ObjectType
  /** Inflated size of the object (not of its delta), bytes. */
  sizeOf(entry: Entry): number
  /** First byte of the entry (its header) in its pack. */
  offsetOf(entry: Entry): number
  /** First byte after the entry. */
  endOf(entry: Entry): number
  /** Entry of the delta base, or -1 when the object is stored whole. */
  baseOf(entry: Entry): Entry
  /** True when the entry is stored as a REF_DELTA (20-byte base name after the header) rather than an OFS_DELTA. */
  isRefDelta(entry: Entry): boolean
  /** Bytes `from` (inclusive) to `to` (exclusive) of a pack, as stored. Valid until the caller's next `read`; copy to keep. */
  read(pack: number, from: number, to: number): Promise<Uint8Array>
  /** Drops the pins that keep packs in memory or on disk. Call once. */
  release(): void
}

/** A view that can spare who goes through a pack a copy, and memory that is used once. */
export interface DirectView extends PackView {
  /** Fills `into` with bytes of a pack from `from` on. */
  readInto(pack: number, from: number, into: Uint8Array): Promise<void>
}

export const packOf = (entry: Entry): number => Math.floor(entry / 2 ** 32)
export const rankOf = (entry: Entry): number => entry % 2 ** 32
export const entryAt = (pack: number, rank: number): Entry => pack * 2 ** 32 + rank

/**
 * Lets other work run: returns a promise when the caller has used up its slice of the thread, else undefined.
 * `const pause = slices.pause(); if (pause) await pause`. Also where a departed client is noticed.
 * @throws ProtocolError `cancelled` when the client left
 */
export interface Slices {
  pause(): Promise<void> | undefined
  /** Aborts when the client leaves: for work that goes on elsewhere. */
  readonly signal?: AbortSignal
}

/** Progress as git shows it: `Counting objects: 42% (42/100)`. Total 0: not known. */
export interface Progress {
  readonly title: string
  readonly done: number
  readonly total: number
}

export interface WorkOptions {
  readonly slices: Slices
  readonly onProgress?: (progress: Progress) => void
}

/** Which objects a client asked for: everything reachable from `wants` and not from `haves`. */
export interface PackRequest {
  readonly wants: readonly Oid[]
  /** Only oids the repository has. */
  readonly haves: readonly Oid[]
  readonly thinPack: boolean
  readonly ofsDelta: boolean
  readonly includeTag: boolean
  /** Where history is cut; not there: nowhere. */
  readonly boundary?: Boundary
  /** What may be left out; not there: nothing. What is wanted by name is sent whatever it says. */
  readonly filter?: ObjectFilter
}

/** Packs that a client gets whole beside its answer: whatever they hold, they hold all it leads to, but for what a filter leaves out. */
export interface GivenPacks {
  /** Ordinals. The view finds what is in them there, wherever else it is. */
  readonly packs: readonly number[]
  /** What they hold and nothing in them refers to. */
  readonly roots: readonly Oid[]
}

/** Of a partial clone. Infinity: no bound. */
export interface ObjectFilter {
  /** Blobs of this size and more are left out. */
  readonly blobBytes: number
  /**
   * Trees and blobs that lie so deep are left out, unless they are also met further up: the tree of a commit is at depth 0, what it names
   * at depth 1. What is named by a tree that is wanted by name is at depth 0.
   */
  readonly treeDepth: number
}

/** Where histories end before their roots, at the client and in what it is to get. All are commits the repository has. */
export interface Boundary {
  /** Stand without their parents: those that do so at the client, and those that will from now on. */
  readonly shallow: readonly Oid[]
  /** Those among `shallow` whose parents the client gets now: it has the commit, and wants the parents. */
  readonly unshallow: readonly Oid[]
}

/** `depth`: commits of the shortest way from a tip, itself included. `since`: seconds since 1970; `not`: what these reach is left out. */
export type DeepenLimit =
  | { readonly kind: 'depth'; readonly depth: number }
  | { readonly kind: 'revisions'; readonly since: number | undefined; readonly not: readonly Oid[] }

export interface DeepenRequest {
  /** What the history is cut from: anything the repository has; what is no commit and names none does not count. */
  readonly tips: readonly Oid[]
  /** Commits that stand without their parents at the client; all are here. */
  readonly shallow: readonly Oid[]
  readonly limit: DeepenLimit
}

/** `shallow`: new ones. `unshallow`: of those the client named, whose parents it gets. */
export type Deepen = (
  view: PackView,
  request: DeepenRequest,
  options: WorkOptions,
) => Promise<{ readonly shallow: readonly Oid[]; readonly unshallow: readonly Oid[] }>

/** Whole pack stream for a request. A yielded chunk is valid until the next `next()`. */
export type AnswerPack = (view: PackView, request: PackRequest, options: WorkOptions) => AsyncIterable<Uint8Array>

/** True when every want is a have or has a path to one: the server may stop asking ("ready"). */
export type Reaches = (view: PackView, wants: readonly Oid[], haves: readonly Oid[], options: WorkOptions) => Promise<boolean>

/** Small blob of a pushed pack that parses as a git-lfs pointer. */
export interface StagedPointer {
  readonly blob: Oid
  readonly lfsOid: string
  readonly size: number
}

/** Blob of a pushed pack that is large and no text. */
export interface StagedBinary {
  readonly blob: Oid
  /** Bytes. */
  readonly size: number
}

/** A received pack: spooled, indexed, checked. Nothing is stored and nobody sees it until `publish` and the transaction after it. */
export interface StagedPack {
  /** Pack and repository together: types of new tips, peeled tags, policy. */
  readonly view: PackView
  /** Objects in the pack; 0: an empty pack or none was sent, and nothing is to be stored. */
  readonly objects: number
  readonly pointers: readonly StagedPointer[]
  /** A thousand at most. */
  readonly binaries: readonly StagedBinary[]
  /** Stores the bytes, whole and synced. Still invisible. */
  publish(): Promise<void>
  /** Removes the spool. Never throws. */
  dispose(): Promise<void>
}

export interface UpdateRequest {
  readonly commands: readonly PushCommand[]
  readonly atomic: boolean
  readonly pushOptions: readonly string[]
}

/** What a push needs of a repository. Implemented by `src/repos/receive-push`. */
export interface ReceivePort {
  /**
   * Spools, indexes and checks a pack (`undefined`: none was sent).
   * @throws ProtocolError `bad-pack`, `bad-object`, `missing-object`, `too-large`
   */
  stage(pack: AsyncIterable<Uint8Array> | undefined, request: UpdateRequest, options: WorkOptions): Promise<StagedPack>
  /**
   * Policy, publish and the one transaction. One result a command, in their order. A refused ref is a result, not an error.
   * `say` shows the pusher a line of text.
   */
  apply(staged: StagedPack, request: UpdateRequest, say: (line: string) => void): Promise<readonly CommandResult[]>
}

/** Answers that were given before, as they were framed. A key says everything that shapes an answer but the repository and its state. */
export interface AnswerCache {
  find(key: string): Uint8Array | undefined
  record(key: string): AnswerRecording
}

export interface AnswerRecording {
  /** Copies the chunk, unless the answer has become too large to be kept, or too much is being recorded. */
  add(chunk: Uint8Array): void
  /** The answer is whole. Without this nothing is kept. */
  keep(): void
  /** Lets go of what was copied. Always called in the end. */
  end(): void
}

/** What a fetch needs of a repository. Implemented by `src/repos/serve-fetch`. */
export interface FetchPort {
  readonly view: PackView
  readonly answer: AnswerPack
  readonly reaches: Reaches
  readonly deepen: Deepen
  readonly cache?: AnswerCache
  /** Told of a pack that `cache` had. */
  readonly onKept?: () => void
  /** True when the caller may want this object: the visibility classes of docs/git-storage.md. `oid` is known to exist when `entry` is not -1. */
  mayWant(oid: Oid, entry: Entry): boolean
}

/** The only clock `protocol/` knows. Resolves after `ms`, or at once when `signal` aborts. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>
