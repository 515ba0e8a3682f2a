import { createHash } from 'node:crypto'
import { request, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { encodePointer } from '../../lfs/pointer.js'
import type { LfsOid } from '../../lfs/types.js'
import type { RepoState } from '../../src/db/versions.js'
import { findNamespace } from '../../src/db/namespaces.js'
import { sql } from '../../src/db/sql.js'
import { createKeeper } from '../../src/kept/keep.js'
import { createLargeFiles } from '../../src/large-files/create-large-files.js'
import type { LargeFiles } from '../../src/large-files/large-files.js'
import { buildApp } from '../../src/server/app.js'
import { lfsKey } from '../../src/storage/keys.js'
import { createMemoryBlobStore } from '../../src/storage/memory-blob-store.js'
import { createReceivePort } from '../../src/repos/receive-push.js'
import { maxBinaryBytes, never, openDomain, slices, type Domain, type TestPush } from './domain.js'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The connection ended before the answer did. */
  readonly isCut: boolean
}

/** The doors over real repositories and large objects, listening. */
export interface FileHub {
  readonly domain: Domain
  /** Sends the path exactly as it is written. */
  ask(path: string, options?: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> }): Promise<Answer>
  /** Uploads an object and comes back with its pointer file. `stored`: what the store has in its place from then on; null: nothing. */
  link(repo: RepoState, content: Buffer, stored?: Buffer | null): Promise<{ readonly oid: LfsOid; readonly pointer: Buffer }>
  /** As collection does in the end. */
  unlink(repo: RepoState, oid: LfsOid): Promise<void>
  /** A push whose pointers nobody looks at, so that there are some that point to nothing. */
  push(repo: RepoState, push: Pick<TestPush, 'commands' | 'pack'>): Promise<void>
  /** How often links were asked for. */
  readonly finds: number
}

interface Teardown {
  teardown(work: () => unknown): void
}

export async function openFileHub(t: Teardown): Promise<FileHub> {
  const domain = await openDomain(t)
  const { db } = domain
  const store = createMemoryBlobStore()
  const keeper = createKeeper({ db, store })
  const service = createLargeFiles({ db, store, keeper, staging: store, reservableBytes: async () => 2 ** 30 })
  let finds = 0
  const largeFiles: LargeFiles = { ...service, find: (repoId, oids) => (finds++, service.find(repoId, oids)) }
  const app = buildApp(
    {
      versions: domain.versions,
      findNamespace: (name) => findNamespace(domain.db, name),
      repos: domain.repos,
      accounts: { createUser: refuse, findUser: refuse, createToken: refuse },
      hubId: 'hub-1',
      health: { database: async () => undefined, store: async () => undefined },
      largeFiles,
    },
    { allowedHosts: [], trustedProxies: [], maxPackBytes: 1024 * 1024 },
  )
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo

  return {
    domain,
    get finds() {
      return finds
    },
    ask: (path, { method = 'GET', headers = {} } = {}) =>
      new Promise((resolve, reject) => {
        const asking = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (response) => {
          const chunks: Buffer[] = []
          const done = (isCut: boolean) => resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks), isCut })
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.once('end', () => done(false))
          response.once('error', () => done(true))
        })
        asking.once('error', reject)
        asking.end()
      }),
    async link(repo, content, stored = content) {
      const oid = createHash('sha256').update(content).digest('hex') as LfsOid
      await service.receive({ oid, size: content.length, repoId: repo.id, actorId: domain.adminId, signal: never }, chunksOf(content))
      const key = lfsKey(Buffer.from(oid, 'hex'))
      if (stored === null) await store.delete(key)
      else if (stored !== content) await store.put(key, chunksOf(stored))
      return { oid, pointer: encodePointer({ oid, size: content.length }) }
    },
    async push(repo, { commands, pack }) {
      const { packs, versions } = domain
      const blind: typeof packs = {
        ...packs,
        stage: async (chunks, request) => Object.defineProperty(await packs.stage(chunks, request), 'pointers', { value: [] }),
      }
      const actor = (await findNamespace(db, 'admin'))!
      const port = createReceivePort(
        { db, packs: blind, versions, largeFiles, slices },
        { repo, actor, authorise: async () => true, signal: never, maxRefs: 1_000, maxBinaryBytes },
      )
      const request = { commands, atomic: true, pushOptions: [] }
      const staged = await port.stage(pack && chunksOf(Buffer.from(pack)), request, { slices: slices() })
      const results = await port.apply(staged, request, () => undefined)
      await staged.dispose()
      if (results.some(({ kind }) => kind !== 'ok')) throw new Error(JSON.stringify(results))
    },
    unlink: async (repo, oid) =>
      void (await db.execute(sql`DELETE FROM repo_large_object WHERE repo_id = ${repo.id} AND sha256 = ${Buffer.from(oid, 'hex')}`)),
  }
}

async function refuse(): Promise<never> {
  throw new Error('no accounts here')
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}
