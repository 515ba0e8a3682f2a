import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads'
import { ProtocolError } from '../../../protocol/errors.js'
import type { Progress, WorkOptions } from '../../../protocol/ports.js'
import { HubError } from '../../errors.js'
import type { PackFetch } from '../snapshot-leases.js'
import { decodeError, encodeError } from './job-errors.js'
import type { FromWorker, Job, JobResult, JobStart, ToWorker } from './messages.js'

export interface PackWorkersOptions {
  /** Threads at most; each starts when it is first needed. */
  readonly size: number
}

export interface OpenJob<K extends Job['kind']> {
  say(message: ToWorker): void
  /** Fetches packs of the snapshot that the job was told of. */
  lend(fetch: PackFetch | undefined): void
  /** @throws what the job throws */
  result(): Promise<Extract<JobResult, { kind: K }>>
  abandon(): void
}

/** By itself each thread would let over a hundred megabytes of what it no longer needs gather before it looks. */
const maxYoungGenerationSizeMb = 24

interface Thread {
  readonly worker: Worker
  readonly jobs: Set<RunningJob>
}

/** Threads for work on packs. A thread runs several jobs in slices, so one that waits for a slow client holds up nobody. */
export class PackWorkers {
  readonly #size: number
  readonly #threads: Thread[] = []
  #closed = false

  constructor({ size }: PackWorkersOptions) {
    this.#size = size
  }

  /** Threads running now. */
  get threads(): number {
    return this.#threads.length
  }

  /** Threads with at least one job, and the jobs of all of them: those beyond one a thread share theirs with others. */
  get load(): { readonly busyThreads: number; readonly jobs: number } {
    return {
      busyThreads: this.#threads.filter(({ jobs }) => jobs.size > 0).length,
      jobs: this.#threads.reduce((sum, { jobs }) => sum + jobs.size, 0),
    }
  }

  /**
   * Runs a job to its end. `fetch` brings packs of its snapshot here.
   * @throws what the job throws; ProtocolError `cancelled` once `slices.signal` aborts; HubError `unavailable` when the thread dies
   */
  async run<K extends Job['kind']>(
    job: Extract<Job, { kind: K }>,
    options: WorkOptions,
    fetch?: PackFetch,
  ): Promise<Extract<JobResult, { kind: K }>> {
    const opened = this.open(job, options)
    opened.lend(fetch)
    return opened.result()
  }

  /** The same for a job that is told more while it runs. To be ended by `result` or `abandon`. */
  open<K extends Job['kind']>(job: Extract<Job, { kind: K }>, options: WorkOptions): OpenJob<K> {
    const running = this.#start(job, options)
    return {
      say: (message) => running.say(message),
      lend: (fetch) => running.lend(fetch),
      abandon: () => running.end(),
      async result() {
        try {
          for (;;) {
            const message = await running.next()
            if (message.kind === 'done') return message.result as Extract<JobResult, { kind: K }>
          }
        } finally {
          running.end()
        }
      },
    }
  }

  /** Chunks of a job that makes them, each valid until the next, and then what it came to. */
  async *stream<K extends 'enumerate' | 'repack'>(
    job: Extract<Job, { kind: K }>,
    options: WorkOptions,
    fetch?: PackFetch,
  ): AsyncGenerator<Uint8Array, Extract<JobResult, { kind: K }>> {
    const running = this.#start(job, options)
    running.lend(fetch)
    try {
      for (;;) {
        const message = await running.next()
        if (message.kind === 'done') return message.result as Extract<JobResult, { kind: K }>
        yield new Uint8Array(message.buffer, 0, message.bytes)
        running.giveBack(message.buffer)
      }
    } finally {
      running.end()
    }
  }

  /** Ends all threads; jobs under way fail. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()))
  }

  #start(job: Job, options: WorkOptions): RunningJob {
    if (this.#closed) throw new HubError('unavailable', 'the hub is stopping')
    const thread = this.#leastBusy()
    const assist = (part: Extract<Job, { kind: 'resolve' }>, signal: AbortSignal) => this.run(part, { slices: { pause: () => undefined, signal } })
    const running = new RunningJob(options, assist, () => {
      thread.jobs.delete(running)
      if (thread.jobs.size === 0) thread.worker.unref()
    })
    thread.jobs.add(running)
    thread.worker.ref()
    const { port1, port2 } = new MessageChannel()
    const cancel = new Int32Array(new SharedArrayBuffer(4))
    running.connect(port1, cancel)
    thread.worker.postMessage({ job, port: port2, cancel } satisfies JobStart, [port2])
    return running
  }

  #leastBusy(): Thread {
    const idle = this.#threads.find(({ jobs }) => jobs.size === 0)
    if (idle) return idle
    if (this.#threads.length < this.#size) return this.#startThread()
    return this.#threads.reduce((least, thread) => (thread.jobs.size < least.jobs.size ? thread : least))
  }

  #startThread(): Thread {
    const worker = new Worker(new URL('worker.js', import.meta.url), { resourceLimits: { maxYoungGenerationSizeMb } })
    const thread: Thread = { worker, jobs: new Set() }
    const dead = (cause: unknown): void => {
      const at = this.#threads.indexOf(thread)
      if (at !== -1) this.#threads.splice(at, 1)
      for (const job of thread.jobs) job.fail(new HubError('unavailable', 'a worker thread ended', { cause }))
    }
    worker.on('error', dead)
    worker.on('exit', (code) => dead(new Error(`exit code ${code}`)))
    worker.unref()
    this.#threads.push(thread)
    return thread
  }
}

type AssistJob = (job: Extract<Job, { kind: 'resolve' }>, signal: AbortSignal) => Promise<Extract<JobResult, { kind: 'resolve' }>>
type JobMessage = Extract<FromWorker, { kind: 'chunk' | 'done' }>

/** The main thread's end of one job. */
class RunningJob {
  readonly #onProgress: ((progress: Progress) => void) | undefined
  readonly #signal: AbortSignal | undefined
  readonly #assist: AssistJob
  readonly #onEnd: () => void
  /** Aborts what others do for this job. */
  #helpers: AbortController | undefined
  readonly #queue: JobMessage[] = []
  #fetch: PackFetch | undefined
  #port: MessagePort | undefined
  #cancel: Int32Array | undefined
  #error: Error | undefined
  #wake: (() => void) | undefined
  #ended = false

  constructor({ slices, onProgress }: WorkOptions, assist: AssistJob, onEnd: () => void) {
    this.#onProgress = onProgress
    this.#assist = assist
    this.#signal = slices.signal
    this.#onEnd = onEnd
  }

  connect(port: MessagePort, cancel: Int32Array): void {
    this.#port = port
    this.#cancel = cancel
    port.on('message', (message: FromWorker) => {
      if (message.kind === 'progress') this.#onProgress?.(message.progress)
      else if (message.kind === 'assist') void this.#help(message.job)
      else if (message.kind === 'need') void this.#fetchPack(message.pack)
      else if (message.kind === 'failed') this.fail(decodeError(message.error))
      else {
        this.#queue.push(message)
        this.#wake?.()
      }
    })
    this.#signal?.addEventListener('abort', this.#leave, { once: true })
    if (this.#signal?.aborted) this.#leave()
  }

  /** @throws what the job threw */
  async next(): Promise<JobMessage> {
    for (;;) {
      const message = this.#queue.shift()
      if (message) return message
      if (this.#error) throw this.#error
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  say(message: ToWorker): void {
    this.#port?.postMessage(message)
  }

  lend(fetch: PackFetch | undefined): void {
    this.#fetch = fetch
  }

  giveBack(buffer: ArrayBuffer): void {
    this.#port?.postMessage({ kind: 'credit', buffer } satisfies ToWorker, [buffer])
  }

  fail(error: Error): void {
    this.#error ??= error
    this.#wake?.()
  }

  /** Over, or not wanted any more. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#stop()
    this.#helpers?.abort()
    this.#signal?.removeEventListener('abort', this.#leave)
    this.#port?.close()
    this.#onEnd()
  }

  async #help(job: Extract<Job, { kind: 'resolve' }>): Promise<void> {
    if (this.#ended) return
    let answer: ToWorker
    this.#helpers ??= new AbortController()
    try {
      answer = { kind: 'assisted', part: (await this.#assist(job, this.#helpers.signal)).part }
    } catch (error) {
      answer = { kind: 'unassisted', error: encodeError(error) }
    }
    this.#port?.postMessage(answer)
  }

  async #fetchPack(pack: number): Promise<void> {
    let answer: ToWorker
    try {
      await this.#fetch?.need(pack)
      answer = { kind: 'here', pack }
    } catch (error) {
      answer = { kind: 'not-here', pack, error: encodeError(error) }
    }
    this.#port?.postMessage(answer)
  }

  readonly #leave = (): void => {
    this.#stop()
    this.fail(new ProtocolError('cancelled', 'the client left'))
  }

  #stop(): void {
    if (this.#cancel) Atomics.store(this.#cancel, 0, 1)
    this.#port?.postMessage({ kind: 'wake' } satisfies ToWorker)
  }
}
