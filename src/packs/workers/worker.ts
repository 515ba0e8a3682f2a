/** The other end of `pool.ts`: runs jobs, several at a time, each in slices. */
import { constants, setPriority } from 'node:os'
import { parentPort, type MessagePort } from 'node:worker_threads'
import { deepen } from '../../../protocol/deepen.js'
import { ProtocolError } from '../../../protocol/errors.js'
import { packBeyond } from '../../../protocol/pack/beyond.js'
import type { IndexPart } from '../../../protocol/pack/indexer.js'
import { PackRecord } from '../../../protocol/pack/pack-record.js'
import { repack } from '../../../protocol/pack/repack.js'
import { answerPack } from '../../../protocol/pack/writer.js'
import type { PackView, Progress, Slices, WorkOptions } from '../../../protocol/ports.js'
import { reaches } from '../../../protocol/reachable.js'
import { OpenBitmaps } from '../bitmaps/open-bitmaps.js'
import { checkPack } from '../check-pack.js'
import { classify } from '../collect/classify.js'
import { sidecarsOf } from '../collect/copy-pack.js'
import { covers } from '../collect/covers.js'
import { takesOf } from '../collect/selection.js'
import { makeSideFiles } from '../collect/side-files.js'
import { findPointers } from '../find-pointers.js'
import { PackFiles } from '../pack-file.js'
import type { PackFetch } from '../snapshot-leases.js'
import { snapshotFromMessage, type MessageOptions, type SnapshotMessage } from '../snapshot.js'
import { resolvePart, type ResolvedPart } from '../ingest.js'
import { SpooledPack, type SpoolState } from '../spool.js'
import { AskedPacks } from './asked-packs.js'
import { decodeError, encodeError } from './job-errors.js'
import { chunkBytes, unreadChunks, type FromWorker, type IndexedPack, type Job, type JobResult, type JobStart, type ToWorker } from './messages.js'

const sliceMs = 20
const progressMs = 100
/** Windows of pack files in this thread. */
const cacheBytes = 16 * 1024 * 1024

const files = new PackFiles({ cacheBytes })
const bitmaps = new OpenBitmaps()

// The main thread keeps its turn: on Linux this acts on this thread alone.
if (process.platform === 'linux') {
  try {
    setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // some containers forbid it; then all threads are alike
  }
}

parentPort!.on('message', (start: JobStart) => void runJob(start))

async function runJob({ job, port, cancel }: JobStart): Promise<void> {
  const send = (message: FromWorker): void => port.postMessage(message)
  try {
    const options: WorkOptions = { slices: createJobSlices(cancel), onProgress: throttled((progress) => send({ kind: 'progress', progress })) }
    send({ kind: 'done', result: await carryOut(job, options, port, new AskedPacks(port, cancel)) })
  } catch (error) {
    send({ kind: 'failed', error: encodeError(error) })
  } finally {
    port.close()
  }
}

async function carryOut(job: Job, options: WorkOptions, port: MessagePort, fetch: PackFetch): Promise<JobResult> {
  if (job.kind === 'index') return index(job, options, port, fetch)
  if (job.kind === 'resolve') return resolve(job, options)
  if (job.kind === 'sidecars') return { kind: 'sidecars', sidecars: await sidecarsOf(job.request, options) }
  const view = snapshotFromMessage(job.snapshot, files, fetchOf(job.snapshot, fetch))
  try {
    if (job.kind === 'pointers') return { kind: 'pointers', oids: await findPointers(view, job.wants, options) }
    if (job.kind === 'reach') return { kind: 'reach', reached: await reaches(view, job.wants, job.haves, options) }
    if (job.kind === 'beyond') return { kind: 'beyond', pack: await packBeyond(view, job.request, job.given, options) }
    if (job.kind === 'deepen') return { kind: 'deepen', ...(await deepen(view, job.request, options)) }
    if (job.kind === 'classify') return { kind: 'classify', classified: await classify(view, job.request, options) }
    if (job.kind === 'side-files') return { kind: 'side-files', files: await makeSideFiles(view, job.request, options) }
    if (job.kind === 'cover') return { kind: 'cover', covered: await covers(view, job.tips, job.marks, options) }
    if (job.kind === 'repack') {
      const record = job.crcs && new PackRecord(job.crcs)
      await sendChunks(repack(view, options, job.selection && takesOf(view, job.selection), record), options.slices, port)
      return { kind: 'repack', columns: record?.columns }
    }
    await sendChunks(answerPack(view, job.request, options, bitmaps.open(view, job.bitmaps)), options.slices, port)
    return { kind: 'enumerate' }
  } finally {
    view.release()
  }
}

const fetchOf = ({ leased }: SnapshotMessage, fetch: PackFetch): MessageOptions => (leased ? { fetch } : {})

/** Checks a pack that may still be arriving. Its owner removes the spool. */
async function index(job: Extract<Job, { kind: 'index' }>, options: WorkOptions, port: MessagePort, fetch: PackFetch): Promise<JobResult> {
  const spool = await SpooledPack.reopen(job.spool)
  const arrival = new Arrival(spool, port, options.slices, fetch)
  try {
    const pack = await checkPack(spool, () => arrival.view(), job.limits, options, {
      copied: job.copied,
      grown: () => arrival.growth(),
      assist: (part) => askForHelp(part, spool.state({ growing: !spool.whole }), port),
    })
    const state = spool.state()
    const { table, connections, ...rest } = pack ?? {}
    return {
      kind: 'index',
      spool: state,
      pack: table && connections && ({ ...rest, ...withoutSpecial(connections) } as IndexedPack),
    }
  } catch (error) {
    // A file that was made here has no other owner.
    if (job.spool.path === undefined) await spool.dispose()
    throw error
  } finally {
    arrival.end()
    await spool.detach()
  }
}

/** What the owner of a pack says while it arrives. */
class Arrival {
  readonly #spool: SpooledPack
  readonly #port: MessagePort
  readonly #slices: Slices
  readonly #fetch: PackFetch
  #view: PackView | undefined
  #news = false
  #wake = (): void => {}

  constructor(spool: SpooledPack, port: MessagePort, slices: Slices, fetch: PackFetch) {
    this.#spool = spool
    this.#port = port
    this.#slices = slices
    this.#fetch = fetch
    port.on('message', this.#onMessage)
  }

  /** Resolves when something was said since it was last asked. @throws ProtocolError `cancelled` */
  async growth(): Promise<void> {
    while (!this.#news) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await this.#slices.pause()
    }
    this.#news = false
  }

  /** The repository as it stood when the last byte had arrived. @throws ProtocolError `cancelled` */
  async view(): Promise<PackView> {
    while (!this.#view) await this.growth()
    return this.#view
  }

  end(): void {
    this.#port.off('message', this.#onMessage)
    this.#view?.release()
  }

  readonly #onMessage = (message: ToWorker): void => {
    if (message.kind === 'grew') {
      this.#spool.grow(message.length)
    } else if (message.kind === 'arrived') {
      this.#spool.grow(message.spool.length, message.spool.sha256)
      this.#spool.allow(message.roomBytes)
      this.#view = snapshotFromMessage(message.snapshot, files, fetchOf(message.snapshot, this.#fetch))
    } else if (message.kind !== 'wake') {
      return
    }
    this.#news = true
    this.#wake()
  }
}

/** Help with an index job of another thread. */
async function resolve({ part, spool: state }: Extract<Job, { kind: 'resolve' }>, options: WorkOptions): Promise<JobResult> {
  const spool = await SpooledPack.reopen(state)
  try {
    return { kind: 'resolve', part: await resolvePart(part, spool, options) }
  } finally {
    await spool.detach()
  }
}

function askForHelp(part: IndexPart, spool: SpoolState, port: MessagePort): Promise<ResolvedPart> {
  return new Promise((resolve, reject) => {
    port.on('message', (message: ToWorker) => {
      if (message.kind === 'assisted') resolve(message.part)
      else if (message.kind === 'unassisted') reject(decodeError(message.error))
    })
    port.postMessage({ kind: 'assist', job: { kind: 'resolve', spool, part } } satisfies FromWorker)
  })
}

function withoutSpecial({
  roots,
  externals,
  expected,
}: Pick<IndexedPack, 'roots' | 'externals' | 'expected'>): Pick<IndexedPack, 'roots' | 'externals' | 'expected'> {
  return { roots, externals, expected }
}

/** A few chunks ahead of the reader; their buffers come back with his credit. */
async function sendChunks(chunks: AsyncIterable<Uint8Array>, slices: Slices, port: MessagePort): Promise<void> {
  const spare: ArrayBuffer[] = []
  let credits = unreadChunks
  let wake = (): void => {}
  port.on('message', (message: ToWorker) => {
    if (message.kind === 'credit') {
      credits += 1
      spare.push(message.buffer)
    }
    wake()
  })
  for await (const chunk of chunks) {
    for (let done = 0; done < chunk.length; done += chunkBytes) {
      const part = chunk.subarray(done, done + chunkBytes)
      while (credits === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        await slices.pause()
      }
      credits -= 1
      const buffer = spare.pop() ?? new ArrayBuffer(chunkBytes)
      new Uint8Array(buffer).set(part)
      port.postMessage({ kind: 'chunk', buffer, bytes: part.length } satisfies FromWorker, [buffer])
    }
  }
}

/** Steps aside for the other jobs of this thread, and notices when this one is not wanted any more. */
function createJobSlices(cancel: Int32Array): Slices {
  let startedAt = performance.now()
  return {
    pause() {
      if (Atomics.load(cancel, 0) !== 0) throw new ProtocolError('cancelled', 'the client left')
      if (performance.now() - startedAt < sliceMs) return undefined
      return new Promise((resolve) => {
        setImmediate(() => {
          startedAt = performance.now()
          resolve()
        })
      })
    },
  }
}

/** Lets through what begins or ends a title, and between them a few a second. */
function throttled(report: (progress: Progress) => void): (progress: Progress) => void {
  let title = ''
  let saidAt = 0
  return (progress) => {
    const now = performance.now()
    const isEnd = progress.total > 0 && progress.done >= progress.total
    if (progress.title === title && !isEnd && now - saidAt < progressMs) return
    title = progress.title
    saidAt = now
    report(progress)
  }
}
