import type {
  Deepen,
  DeepenRequest,
  FetchPort,
  PackRequest,
  PackView,
  ReceivePort,
  RefTable,
  Slices,
  Sleep,
  UpdateRequest,
  WorkOptions,
} from '../../protocol/ports.js'
import { oidFromBytes } from '../../protocol/oid.js'
import { RefBlock } from '../../protocol/ref-block.js'
import type { CommandResult, Oid, Ref, RefName } from '../../protocol/types.js'

/** A body in the chunks given. */
export async function* bodyOf(...chunks: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk as string, 'latin1')
}

/** The same bytes, one a chunk, each chunk overwritten once the next is asked for, as a reused read buffer would be. */
export async function* byteByByte(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(1)
  for (const byte of bytes) {
    chunk[0] = byte
    yield chunk
    chunk[0] = 0xee
  }
}

/** Lines as a client frames them; `0000`, `0001` and `0002` stand for themselves. Written apart from the code under test. */
export function pkts(...lines: readonly (string | readonly string[])[]): Buffer {
  const frame = (line: string) => (/^000[012]$/.test(line) ? line : (Buffer.byteLength(line, 'latin1') + 4).toString(16).padStart(4, '0') + line)
  return Buffer.from(lines.flat().map(frame).join(''), 'latin1')
}

/** All bytes, copied as they come: a yielded chunk is valid only until the next. */
export async function collect(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of chunks) parts.push(Buffer.from(chunk))
  return Buffer.concat(parts)
}

export async function wireText(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
  return (await collect(chunks)).toString('latin1')
}

export const oidOf = (digit: string): Oid => digit.repeat(40) as Oid
export const refOf = (name: string, oid: Oid, peeled?: Oid): Ref => (peeled ? { name: name as RefName, oid, peeled } : { name: name as RefName, oid })

export function refTable(list: readonly Ref[], head = 'refs/heads/main'): RefTable {
  return { head: head as RefName, list, count: list.length, blocks: RefBlock.of(list, 3), find: (name) => list.find((ref) => ref.name === name) }
}

export const noSlices: Slices = { pause: () => undefined }

/** A clock that moves when told to. */
export function handClock(): { sleep: Sleep; tick(): Promise<void>; readonly sleepers: number } {
  const waiting = new Set<() => void>()
  return {
    sleep: (_ms, signal) =>
      new Promise((resolve) => {
        const wake = () => {
          waiting.delete(wake)
          resolve()
        }
        waiting.add(wake)
        signal.addEventListener('abort', wake, { once: true })
      }),
    async tick() {
      for (const wake of waiting) wake()
      await new Promise((resolve) => setImmediate(resolve))
    },
    get sleepers() {
      return waiting.size
    },
  }
}

export const forever: Sleep = (_ms, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))

export interface FakeFetch extends FetchPort {
  readonly requests: PackRequest[]
  /** Haves of each time it was asked whether they reach the wants. */
  readonly asked: (readonly Oid[])[]
  readonly deepened: DeepenRequest[]
  released: number
}

/** A repository that knows `oids` and answers every request with `answer`. */
export function fakeFetch(options: {
  refs?: RefTable
  oids?: readonly Oid[]
  reaches?: (haves: readonly Oid[]) => boolean
  mayWant?: (oid: Oid) => boolean
  deepen?: (request: DeepenRequest) => Awaited<ReturnType<Deepen>>
  answer?: (options: WorkOptions) => AsyncIterable<Uint8Array>
}): FakeFetch {
  const oids = options.oids ?? []
  const fake: FakeFetch = {
    requests: [],
    asked: [],
    deepened: [],
    released: 0,
    view: {
      refs: options.refs ?? refTable([]),
      find: (oid: Uint8Array) => oids.indexOf(oidFromBytes(oid)),
      typeOf: () => 1,
      sizeOf: () => 12_345,
      release: () => {
        fake.released++
      },
    } as Partial<PackView> as PackView,
    mayWant: options.mayWant ?? (() => true),
    async reaches(_view, _wants, haves) {
      fake.asked.push(haves)
      return options.reaches?.(haves) ?? false
    },
    async deepen(_view, request) {
      fake.deepened.push(request)
      return options.deepen?.(request) ?? { shallow: [], unshallow: [] }
    },
    answer(_view, request, work) {
      fake.requests.push(request)
      return options.answer?.(work) ?? bodyOf('PACK', 'data')
    },
  }
  return fake
}

export interface FakeReceive extends ReceivePort {
  readonly requests: UpdateRequest[]
  /** What `stage` was given, read to its end; `undefined`: no pack. */
  readonly packs: (Buffer | undefined)[]
  disposed: number
}

/** Takes every pack and moves every ref, unless told otherwise. */
export function fakeReceive(
  options: {
    stage?: (pack: AsyncIterable<Uint8Array> | undefined, work: WorkOptions) => Promise<void>
    apply?: (request: UpdateRequest) => Promise<readonly CommandResult[]>
  } = {},
): FakeReceive {
  const fake: FakeReceive = {
    requests: [],
    packs: [],
    disposed: 0,
    async stage(pack, request, work) {
      fake.requests.push(request)
      if (options.stage) await options.stage(pack, work)
      else fake.packs.push(pack && (await collect(pack)))
      return {
        view: {} as PackView,
        objects: 0,
        pointers: [],
        binaries: [],
        publish: async () => {},
        dispose: async () => {
          fake.disposed++
        },
      }
    },
    apply: async (_staged, request) => options.apply?.(request) ?? request.commands.map(({ name }) => ({ name, kind: 'ok' as const })),
  }
  return fake
}
