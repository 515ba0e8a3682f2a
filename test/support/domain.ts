import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LfsOid } from '../../lfs/types.js'
import type { PackRequest } from '../../protocol/ports.js'
import type { CommandResult, Oid, PushCommand, RefName } from '../../protocol/types.js'
import { zeroOid } from '../../protocol/types.js'
import { ensureAdmin } from '../../src/auth/accounts.js'
import { findNamespace } from '../../src/db/namespaces.js'
import type { Database } from '../../src/db/pool.js'
import { createHotVersions } from '../../src/db/hot-versions.js'
import { createVersions, type RepoState, type Versions } from '../../src/db/versions.js'
import { createKeeper, type Keeper } from '../../src/kept/keep.js'
import { createAnswers } from '../../src/packs/answers.js'
import { classify } from '../../src/packs/collect/classify.js'
import { repackHere } from '../../src/packs/collect/repack-here.js'
import { findPointers } from '../../src/packs/find-pointers.js'
import { packsInStore } from '../../src/packs/local-packs.js'
import { PackCache } from '../../src/packs/pack-cache.js'
import { createPacks, type Packs, type PacksOptions } from '../../src/packs/packs.js'
import { createSlices } from '../../src/packs/slices.js'
import { openSpool, type Spool } from '../../src/packs/spool.js'
import { createPackJobs } from '../../src/packs/workers/pack-jobs.js'
import type { PackWorkers } from '../../src/packs/workers/pool.js'
import { createReceivePort, type PushContext } from '../../src/repos/receive-push.js'
import { createRepos, type Repos } from '../../src/repos/repos.js'
import type { BlobStore, FilePut } from '../../src/storage/blob-store.js'
import { createFilesystemBlobStore } from '../../src/storage/filesystem-blob-store.js'
import { git } from './git.js'
import { testDatabase } from './postgres.js'
import { watchStore, type WatchedStore } from './watched-store.js'

export interface Domain {
  readonly db: Database
  readonly versions: Versions
  readonly packs: Packs
  readonly store: BlobStore
  readonly keeper: Keeper
  readonly spool: Spool
  readonly repos: Repos
  readonly blobDirectory: string
  /** Of a store without files. */
  readonly remote: { readonly watched: WatchedStore; readonly cache: PackCache; readonly cacheDirectory: string } | undefined
  readonly adminId: number
  /** An empty public model of `admin`. */
  makeRepo(name: string): Promise<RepoState>
  /** The repository as it stands. */
  current(name: string): Promise<RepoState>
  /** One push: spool, checks, policy, publish, transaction. */
  push(repo: RepoState, push: TestPush): Promise<readonly CommandResult[]>
}

export interface TestPush {
  readonly commands: readonly PushCommand[]
  readonly pack?: Uint8Array | undefined
  readonly atomic?: boolean
  readonly authorise?: () => Promise<boolean>
  /** Runs between the checks and the transaction. */
  readonly before?: () => Promise<void>
}

interface Teardown {
  teardown(work: () => unknown): void
}

/** Whoever pushes pointers here finds none of their objects. */
export const largeFiles = { find: async () => new Map<LfsOid, number>() }
export const maxBinaryBytes = 10 * 2 ** 20

export const never = new AbortController().signal
export const slices = (signal: AbortSignal = never) => createSlices({ sliceMs: 20, signal })

/** Set in tests that run once more over a store without files: by how many bytes of it are kept here. */
const remoteBytes = Number(process.env['CAIRN_TEST_CACHE_BYTES'] ?? 0)

/**
 * Everything below the doors, over a database of its own and a folder. With `cacheBytes` the folder is reached only as a store over a network
 * would be, and so many bytes of packs are kept beside it.
 */
export async function openDomain(
  t: Teardown,
  { cacheBytes = remoteBytes, ...options }: Partial<PacksOptions> & { readonly cacheBytes?: number } = {},
  workers?: PackWorkers,
): Promise<Domain> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-domain-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const db = await testDatabase(t)
  await ensureAdmin(db, `hf_${'a'.repeat(34)}`)
  const admin = (await findNamespace(db, 'admin'))!
  const blobDirectory = join(folder, 'blobs')
  const local = createFilesystemBlobStore({ directory: blobDirectory })
  const remote = cacheBytes > 0 ? await openRemote(local, join(folder, 'cache'), cacheBytes) : undefined
  const store = remote?.watched.store ?? local
  const spool = openSpool({ directory: join(folder, 'spool'), hubId: 'hub', bootId: 'boot', maxBytes: 2 ** 30, maxPackBytes: 2 ** 29 })
  const keeper = createKeeper({ db, store })
  const jobs = workers && createPackJobs(workers, spool)
  const packs = createPacks({
    db,
    store,
    files: remote?.cache.keeping(store) ?? store,
    localPacks: remote?.cache ?? packsInStore(local),
    keeper,
    spool,
    ingestBytes: 64 * 2 ** 20,
    tableBytes: 64 * 2 ** 20,
    ...(jobs ? { beginCheck: jobs.beginCheck } : {}),
    ...options,
  })
  t.teardown(() => packs.close())
  const versions = createHotVersions(createVersions(db))
  const repos = createRepos({
    db,
    packs,
    versions,
    answers: createAnswers({ answerBytes: 2 ** 20, ...(jobs ? { jobs } : {}) }),
    classify,
    repack: repackHere,
    findPointers,
    slices,
    maxRefs: 100_000,
    largeFiles,
    maxBinaryBytes,
    retentionMs: 86_400_000,
  })
  const pathOf = (name: string) => ({ type: 'model', namespace: 'admin', name }) as const

  return {
    db,
    versions,
    packs,
    store,
    keeper,
    spool,
    repos,
    blobDirectory,
    remote,
    adminId: admin.id,
    makeRepo: async (name) => repos.createRepo({ actor: admin, path: pathOf(name), namespaceId: admin.id, visibility: 'public', empty: true }),
    current: async (name) => (await versions.current({ repo: pathOf(name) })).repo!,
    async push(repo, { commands, pack, atomic = false, authorise = async () => true, before }) {
      const actor = (await findNamespace(db, 'admin'))!
      const context: PushContext = {
        repo,
        actor: { id: actor.id, accessVer: actor.accessVer },
        authorise,
        signal: never,
        maxRefs: 100_000,
        maxBinaryBytes,
      }
      const port = createReceivePort({ db, packs, versions, largeFiles, slices }, context)
      const request = { commands, atomic, pushOptions: [] }
      const staged = await port.stage(pack && chunked(pack), request, { slices: slices() })
      try {
        await before?.()
        return await port.apply(staged, request, () => undefined)
      } finally {
        await staged.dispose()
      }
    },
  }
}

async function openRemote(inner: BlobStore & FilePut, cacheDirectory: string, maxBytes: number) {
  const watched = watchStore(inner)
  return { watched, cacheDirectory, cache: await PackCache.open({ directory: cacheDirectory, store: watched.store, maxBytes }) }
}

async function* chunked(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

export const create = (name: string, newOid: string): PushCommand => ({ name: name as RefName, oldOid: zeroOid, newOid: newOid as Oid })
export const move = (name: string, oldOid: string, newOid: string): PushCommand => ({
  name: name as RefName,
  oldOid: oldOid as Oid,
  newOid: newOid as Oid,
})
export const remove = (name: string, oldOid: string): PushCommand => ({ name: name as RefName, oldOid: oldOid as Oid, newOid: zeroOid })

/** A work tree of real git, in a folder that exists. */
export async function workTree(folder: string): Promise<WorkTree> {
  const cwd = join(folder, randomUUID())
  await git(['init', '-q', '-b', 'main', cwd])
  return new WorkTree(cwd)
}

export class WorkTree {
  readonly cwd: string

  constructor(cwd: string) {
    this.cwd = cwd
  }

  /** A commit on top of what HEAD is at; its oid. */
  async commit(files: Readonly<Record<string, string | Buffer>>, message = 'commit'): Promise<string> {
    for (const [name, content] of Object.entries(files)) {
      const { stdout } = await git(['hash-object', '-w', '--stdin'], { cwd: this.cwd, input: Buffer.from(content) })
      await git(['update-index', '--add', '--cacheinfo', `100644,${stdout.toString().trim()},${name}`], { cwd: this.cwd })
    }
    await git(['commit', '-q', '--allow-empty', '-m', message], { cwd: this.cwd })
    return this.rev('HEAD')
  }

  /** Goes back, or elsewhere. */
  async reset(oid: string): Promise<void> {
    await git(['reset', '-q', '--mixed', oid], { cwd: this.cwd })
  }

  async rev(name: string): Promise<string> {
    return (await git(['rev-parse', name], { cwd: this.cwd })).stdout.toString().trim()
  }

  /** What `git push` would send for `wanted`, given that the other side has `^…`. */
  async pack(...revisions: readonly string[]): Promise<Buffer> {
    const args = ['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '-q']
    return (await git(args, { cwd: this.cwd, input: Buffer.from(`${revisions.join('\n')}\n`) })).stdout
  }
}

/** What a clone asks for, and what is asked otherwise. */
export const cloneRequest = (wants: readonly string[], more: object = {}): PackRequest => ({
  wants: wants as readonly Oid[],
  haves: [],
  thinPack: true,
  ofsDelta: true,
  includeTag: false,
  ...more,
})
