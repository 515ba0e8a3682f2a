/** The other end of `pool.ts`: runs jobs, several at a time, each in slices. */
import { constants, setPriority } from 'node:os'
import { parentPort, type MessagePort } from 'node:worker_threads'
import { ProtocolError } from '../../../protocol/errors.js'
import type { IndexPart } from '../../../protocol/pack/indexer.js'
import { answerPack } from '../../../protocol/pack/writer.js'
import type { PackView, Progress, Slices, WorkOptions } from '../../../protocol/ports.js'
import { reaches } from '../../../protocol/reachable.js'
import { checkPack } from '../check-pack.js'
import { PackFiles } from '../pack-file.js'
import { snapshotFromMessage } from '../snapshot.js'
import { resolvePart, type ResolvedPart } from '../ingest.js'
import { SpooledPack, type SpoolState } from '../spool.js'
import { decodeError, encodeError } from './job-errors.js'
import { chunkBytes, unreadChunks, type FromWorker, type IndexedPack, type Job, type JobResult, type JobStart, type ToWorker } from './messages.js'

const sliceMs = 20
const progressMs = 100
/** Windows of pack files in this thread. */
const cacheBytes = 16 * 1024 * 1024

const files = new PackFiles({ cacheBytes })

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
  const send = (message: FromWorker, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(message, transfer)
  let view: PackView | undefined
  try {
    const options: WorkOptions = { slices: createJobSlices(cancel), onProgress: throttled((progress) => send({ kind: 'progress', progress })) }
    if (job.kind !== 'resolve') view = snapshotFromMessage(job.snapshot, files)
    const result = job.kind === 'resolve' ? await resolve(job, options) : await carryOut(job, view!, options, port)
    send({ kind: 'done', result })
  } catch (error) {
    send({ kind: 'failed', error: encodeError(error) })
  } finally {
    view?.release()
    port.close()
  }
}

async function carryOut(job: Exclude<Job, { kind: 'resolve' }>, view: PackView, options: WorkOptions, port: MessagePort): Promise<JobResult> {
  if (job.kind === 'reach') return { kind: 'reach', reached: await reaches(view, job.wants, job.haves, options) }
  if (job.kind === 'enumerate') {
    await sendChunks(answerPack(view, job.request, options), options.slices, port)
    return { kind: 'enumerate' }
  }
  const spool = await SpooledPack.reopen(job.spool, job.roomBytes)
  try {
    const pack = await checkPack(spool, view, job.limits, options, (part) => askForHelp(part, job.spool, port))
    const state = spool.state()
    await spool.detach()
    const { table, connections, ...rest } = pack ?? {}
    return {
      kind: 'index',
      spool: state,
      pack: table && connections && ({ ...rest, tbl: table.bytes, ...withoutSpecial(connections) } as IndexedPack),
    }
  } catch (error) {
    await spool.dispose()
    throw error
  }
}

/** Half of an index job that another thread does. */
async function resolve({ part, spool: state }: Extract<Job, { kind: 'resolve' }>, options: WorkOptions): Promise<JobResult> {
  const spool = await SpooledPack.reopen(state, 0)
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
