import { randomUUID } from 'node:crypto'
import { createTokenFor, createUser, ensureAdmin } from '../auth/accounts.js'
import { createFormTokens } from '../auth/csrf.js'
import { createKeyRing, type KeyRing } from '../auth/keys.js'
import { createSessions } from '../auth/sessions.js'
import { createSignedLinks } from '../auth/signed-links.js'
import type { Config } from '../config/config.js'
import { findNamespace } from '../db/namespaces.js'
import type { HubError } from '../errors.js'
import { sql } from '../db/sql.js'
import { createJobs } from '../jobs/jobs.js'
import { createHotVersions } from '../db/hot-versions.js'
import { createVersions } from '../db/versions.js'
import { createKeeper } from '../kept/keep.js'
import { createLargeFiles } from '../large-files/create-large-files.js'
import { createLocks } from '../large-files/locks.js'
import type { BundleClaims } from '../git-http/bundles.js'
import type { LinkClaims } from '../lfs-http/links.js'
import { openGate } from '../move/gate.js'
import { KeptBitmaps } from '../packs/bitmaps/kept-bitmaps.js'
import { createAddSideFiles } from '../packs/collect/add-side-files.js'
import { createCollectPacks } from '../packs/collect/collect.js'
import { createPurgePacks } from '../packs/collect/purge.js'
import { createFold } from '../packs/collect/fold.js'
import { createPacks } from '../packs/packs.js'
import { createPackJobs } from '../packs/workers/pack-jobs.js'
import { PackWorkers } from '../packs/workers/pool.js'
import { createSlices } from '../packs/slices.js'
import { openSpool } from '../packs/spool.js'
import { visibilityClass } from '../repos/ref-changes.js'
import { createLivePointers } from '../repos/live-pointers.js'
import { createPurgeRepo } from '../repos/purge-repo.js'
import { createRepos } from '../repos/repos.js'
import { createUploads } from '../repos/uploads.js'
import type { AppServices } from './app.js'
import { createBlobCollector, createChores, reportFigures } from './chores.js'
import { createClosers } from './closers.js'
import { openGround, type Log } from './ground.js'
import { createFsck } from './fsck.js'
import { watchLargeFiles } from './metrics/large-file-metrics.js'
import { createMetrics } from './metrics/metrics.js'
import { addUsage } from './metrics/usage-metrics.js'
import { createWorkMetrics } from './metrics/work-metrics.js'
import { ensureSecrets, type Secrets } from './secrets.js'
import { claimStore } from './store-claim.js'
import { openAnswers } from './open-answers.js'
import { openPackFiles } from './pack-files.js'
import { openPurges } from './purges.js'
import { openStore } from './stores.js'

export interface Services extends AppServices {
  readonly secrets: Secrets
  readonly keys: KeyRing
  /** Begins what the hub does by itself. */
  readonly startJobs: () => Promise<void>
  readonly close: () => Promise<void>
}

/** How long one piece of work may hold the thread. Health checks and keepalives come in between. */
const sliceMs = 20
const maxRefs = 100_000

/**
 * Settings → data lock → database → migrations → stores → packs → repositories. What was opened is closed again when a later step fails.
 * `onLost`: somebody else has this hub's place now, and it has to end.
 */
export async function createServices(config: Config, log: Log, onLost: (error: HubError) => void): Promise<Services> {
  const ground = await openGround(config, log)
  const { push, close } = createClosers()
  push(ground.close)
  try {
    if (ground.migrated.length > 0) log({ migrations: ground.migrated }, 'database migrated')
    const gate = await openGate({ db: ground.db, log })
    push(() => gate.close())
    const db = gate.guard(ground.db)
    const secrets = await ensureSecrets({
      dataDirectory: config.dataDirectory,
      embedded: config.database === undefined,
      adminToken: config.adminToken,
      secretKey: config.secretKey,
    })
    await ensureAdmin(db, secrets.adminToken)

    // With an embedded database nobody else writes to it.
    const isAlone = config.database === undefined
    const versions = isAlone ? createHotVersions(createVersions(db)) : createVersions(db)
    const hubStore = await openStore(config)
    push(() => hubStore.close())
    const { store } = hubStore
    const claim = await claimStore({ db, store, shared: hubStore.shared, storeName: hubStore.name, onLost })
    push(() => claim.release())
    await hubStore.sweep()
    const directUploads = hubStore.signedLinks !== undefined && (await hubStore.provesUploads())
    if (hubStore.signedLinks && !directUploads)
      log({ store: hubStore.name }, 'uploads come through the hub: the store takes what nobody signed for, or cannot be reached as clients do')
    const packFiles = await openPackFiles(config, hubStore)
    push(async () => packFiles.close())
    const spool = openSpool({
      directory: config.spoolDirectory,
      hubId: secrets.hubId,
      bootId: randomUUID(),
      maxBytes: config.spoolBytes,
      maxPackBytes: packFiles.maxPackBytes,
    })
    await spool.sweep()
    const metrics = createMetrics()
    metrics.addProcess()
    const work = createWorkMetrics(metrics.instruments)
    const workers = new PackWorkers({ size: config.workers })
    const bitmaps = new KeptBitmaps({
      store,
      maxBytes: config.tableBytes / 4,
      onFailed: (repoId, error) => log({ repoId, err: error }, 'bitmaps left aside'),
    })
    const jobs = createPackJobs(workers, spool, bitmaps.load)
    const keeper = createKeeper({ db, store })
    const packs = work.watchPacks(
      createPacks({
        beginCheck: jobs.beginCheck,
        db,
        store,
        files: packFiles.files,
        localPacks: packFiles.localPacks,
        keeper,
        spool,
        ingestBytes: config.ingestBytes,
        tableBytes: config.tableBytes,
        bitmaps,
        limits: { largeBlobBytes: config.maxBinaryBytes },
      }),
    )
    const largeFiles = watchLargeFiles(
      metrics.instruments,
      createLargeFiles({
        db,
        store,
        staging: store,
        keeper,
        reservableBytes: () => hubStore.freeBytes(),
        signedLinks: hubStore.signedLinks,
        directUploads,
      }),
    )
    const slices = (signal: AbortSignal) => createSlices({ sliceMs, signal })
    const blobs = createBlobCollector({ db, store })
    const kept = openAnswers({ config, isShared: hubStore.shared, db, store, keeper, blobs, spool, jobs, slices, work, log })
    const { answers, sharedAnswers } = kept
    const { cache: packCache } = packFiles
    const purges = openPurges({ db, isAlone, packs, answers, packCache, log })
    push(() => purges.close())
    const repos = work.watchRepos(
      createRepos({
        db,
        packs,
        versions,
        answers,
        classify: jobs.classify,
        repack: jobs.repack,
        findPointers: jobs.findPointers,
        slices,
        maxRefs,
        largeFiles,
        maxBinaryBytes: config.maxBinaryBytes,
        retentionMs: config.retentionMs,
      }),
    )
    const fold = createFold({ db, packs, versions, repack: jobs.repack, slices, maxPackBytes: packFiles.maxPackBytes })
    const collectPacks = createCollectPacks({
      db,
      packs,
      versions,
      store,
      copyPack: jobs.copyPack,
      classify: jobs.classify,
      covers: jobs.covers,
      addSideFiles: createAddSideFiles({
        db,
        versions,
        keeper,
        store,
        packs,
        makeSideFiles: jobs.makeSideFiles,
        slices,
        onFailed: (repoId, error) => log({ repoId, err: error }, 'no bitmaps made'),
      }),
      slices,
      visibilityClass,
      retentionMs: config.retentionMs,
    })
    const chores = createChores({
      db,
      blobs,
      packs,
      sharedAnswers,
      largeFiles,
      findPointers: jobs.findPointers,
      fold,
      collectPacks,
      slices,
      retentionMs: config.retentionMs,
      log,
    })
    const queue = createJobs({
      connection: ground.directConnection,
      tasks: work.watchTasks(gate.guardTasks(chores.tasks)),
      schedule: chores.schedule,
      log,
    })
    const keys = createKeyRing({ db, secretKey: secrets.secretKey })
    addUsage(metrics.instruments, {
      config,
      maxConnections: config.databaseConnections,
      db,
      spool,
      packs,
      packCache,
      answers,
      workers,
      purges,
    })

    return {
      secrets,
      versions,
      repos,
      repoStreams: purges.repoStreams,
      keys,
      startJobs: () => queue.start(),
      hubId: secrets.hubId,
      collectGarbage: async (options) => reportFigures(await chores.collect(options)),
      checkHub: createFsck({
        db,
        store,
        keeper,
        versions,
        packs,
        localPacks: packFiles.localPacks,
        classify: jobs.classify,
        collectPacks,
        slices,
        visibilityClass,
        blobs,
        log,
      }),
      purgeRepo: createPurgeRepo({
        db,
        versions,
        forgetPurged: purges.forgetPurged,
        purgePacks: createPurgePacks({ packs, collectPacks, forgetPurged: purges.forgetPurged, blobs }),
        pointersInUse: createLivePointers({ db, packs, findPointers: jobs.findPointers, slices, retentionMs: 0 }),
      }),
      bundleLinks: createSignedLinks<BundleClaims>(keys, 'bundle-link'),
      largeFiles,
      lfs: {
        largeFiles,
        locks: createLocks(db),
        links: createSignedLinks<LinkClaims>(keys, 'lfs-link'),
      },
      pages: {
        sessions: createSessions({ db, versions }),
        formTokens: createFormTokens(keys),
        uploads: createUploads({
          db,
          packs,
          versions,
          largeFiles,
          slices,
          maxRefs,
          maxPackBytes: packFiles.maxPackBytes,
          maxBinaryBytes: config.maxBinaryBytes,
          spool: { directory: spool.directory, maxBytes: config.spoolBytes },
        }),
      },
      readOnly: () => gate.readOnly(),
      findNamespace: (name) => findNamespace(db, name),
      accounts: {
        createUser: (user) => createUser(db, user),
        findUser: (name) => findNamespace(db, name),
        createToken: async (token) => (await versions.changing({ actorId: token.userId }, () => createTokenFor(db, token))).token,
      },
      health: {
        database: async () => void (await db.query(sql`SELECT 1`)),
        store: () => store.ping(),
      },
      metrics,
      close: async () => {
        await queue.close()
        await kept.close()
        packs.close()
        await workers.close()
        await close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}
