import type { MessagePort } from 'node:worker_threads'
import { clientLeft } from '../room-queue.js'
import type { PackFetch } from '../snapshot-leases.js'
import { decodeError } from './job-errors.js'
import type { FromWorker, ToWorker } from './messages.js'

/** Packs of a job's snapshot, for which the main thread is asked before they are first read. */
export class AskedPacks implements PackFetch {
  readonly #port: MessagePort
  readonly #cancel: Int32Array
  readonly #here = new Set<number>()
  readonly #asked = new Map<number, PromiseWithResolvers<void>>()
  #listening = false

  constructor(port: MessagePort, cancel: Int32Array) {
    this.#port = port
    this.#cancel = cancel
  }

  need(pack: number): Promise<void> | undefined {
    if (this.#here.has(pack)) return undefined
    const known = this.#asked.get(pack)
    if (known) return known.promise
    if (Atomics.load(this.#cancel, 0) !== 0) return Promise.reject(clientLeft())
    this.#listen()
    const asked = Promise.withResolvers<void>()
    this.#asked.set(pack, asked)
    const question: FromWorker = { kind: 'need', pack }
    this.#port.postMessage(question, [])
    return asked.promise
  }

  /** Not before there is something to hear: a port with one listener keeps nothing for those who come later. */
  #listen(): void {
    if (this.#listening) return
    this.#listening = true
    this.#port.on('message', (message: ToWorker) => this.#hear(message))
    this.#port.on('close', () => this.#giveUp())
  }

  #hear(message: ToWorker): void {
    if (message.kind === 'wake' && Atomics.load(this.#cancel, 0) !== 0) return this.#giveUp()
    if (message.kind !== 'here' && message.kind !== 'not-here') return
    const asked = this.#asked.get(message.pack)
    this.#asked.delete(message.pack)
    if (message.kind === 'not-here') return asked?.reject(decodeError(message.error))
    this.#here.add(message.pack)
    asked?.resolve()
  }

  /** Nobody answers any more. */
  #giveUp(): void {
    for (const { reject } of this.#asked.values()) reject(clientLeft())
    this.#asked.clear()
  }
}
