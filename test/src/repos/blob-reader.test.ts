import { createHash } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { encodeEntryHeader } from '../../../protocol/pack/entry.js'
import type { PackView } from '../../../protocol/ports.js'
import { createBlobReader, type BlobReader } from '../../../src/repos/blob-reader.js'
import { never } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { altered, viewOf, type MemoryView } from '../../support/pack-view.js'
import { collect } from '../../support/wire.js'

/** The same bytes every time; they do not compress. */
function noise(seed: string, bytes: number): Buffer {
  const blocks: Buffer[] = []
  for (let i = 0; i * 64 < bytes; i++) blocks.push(createHash('sha512').update(`${seed}:${i}`).digest())
  return Buffer.concat(blocks).subarray(0, bytes)
}

const changed = (data: Buffer, at: number): Buffer =>
  Buffer.concat([data.subarray(0, at), Buffer.from('here something else stands'), data.subarray(at)])

const large = noise('large', 3_000_000)
const contents: Readonly<Record<string, Buffer>> = {
  empty: Buffer.alloc(0),
  one: Buffer.from('x'),
  small: Buffer.from('small text\n'.repeat(100)),
  whole: noise('whole', 2_500_000),
  zeros: Buffer.alloc(5_000_000),
  large,
  largeToo: changed(large, 1_000_000),
  largeThree: changed(changed(large, 1_000_000), 2_000_000),
}

const bare = join(t.testdir(), 'repo.git')
await git(['init', '-q', '--bare', bare])
const oids: Record<string, string> = {}
for (const [name, content] of Object.entries(contents)) {
  oids[name] = (await git(['hash-object', '-w', '--stdin'], { cwd: bare, input: content })).stdout.toString().trim()
}
const list = Object.entries(oids).map(([name, oid]) => `${oid} ${name.startsWith('large') ? 'large' : name}\n`)
await git(['pack-objects', '-q', join(bare, 'objects/pack/pack')], { cwd: bare, input: Buffer.from(list.join('')) })
const view: MemoryView = await viewOf(bare)
const isDelta = (name: string): boolean => view.baseOf(view.named(oids[name]!)) !== -1

const read = (reader: BlobReader, name: string, from: number, to: number, on: PackView = view) =>
  collect(reader.stream(on, view.named(oids[name]!), { from, to }, never))

t.test('any range of any blob, stored whole or as a delta', async (t) => {
  t.same([isDelta('whole'), isDelta('zeros')], [false, false])
  t.ok(['large', 'largeToo', 'largeThree'].filter(isDelta).length >= 2, 'git made deltas')
  const reader = createBlobReader()
  for (const [name, content] of Object.entries(contents)) {
    const size = content.length
    const ranges = [
      [0, size],
      [0, 1],
      [0, 0],
      [size - 1, size],
      [size, size],
      [1, size - 1],
      [262_143, 262_145],
      [65_536, 131_072],
      [999_990, 1_000_050],
      [1_500_000, 2_499_999],
    ] as const
    for (const [from, to] of ranges) {
      if (from < 0 || to > size || from > to) continue
      const bytes = await read(reader, name, from, to)
      t.ok(bytes.equals(content.subarray(from, to)), `${name} ${from} to ${to} of ${size}`)
    }
    t.ok(content.equals(await reader.readWhole(view, view.named(oids[name]!), never)), `${name} at once`)
  }
})

t.test('chunks stay small, whatever the blob', async (t) => {
  const reader = createBlobReader()
  for (const name of ['whole', 'zeros', 'largeThree', 'large', 'largeToo']) {
    let largest = 0
    for await (const { length } of reader.stream(view, view.named(oids[name]!), { from: 0, to: contents[name]!.length }, never)) {
      largest = Math.max(largest, length)
    }
    t.ok(largest > 0 && largest <= 256 * 1024, `${name}: ${largest}`)
  }
})

t.test('who stops early stops the reading, and no budget is lost', async (t) => {
  const delta = ['large', 'largeToo', 'largeThree'].find(isDelta)!
  // The clock of a wait keeps no process alive, and there is nothing else here.
  const alive = setInterval(() => undefined, 1_000)
  t.teardown(() => clearInterval(alive))
  const reader = createBlobReader({ heldBytes: 3_100_000, unpackBytes: 10_000_000, waitMs: 50 })
  for (let i = 0; i < 5; i++) {
    for await (const chunk of reader.stream(view, view.named(oids[delta]!), { from: 0, to: contents[delta]!.length }, never)) {
      t.ok(chunk.length > 0)
      break
    }
    for await (const _ of reader.stream(view, view.named(oids['whole']!), { from: 0, to: 2_500_000 }, never)) break
  }
  const held = reader.stream(view, view.named(oids[delta]!), { from: 0, to: 3_000_000 }, never)
  await held.next()
  await t.rejects(read(reader, delta, 0, 10), { code: 'busy' }, 'one reader holds all there is')
  t.equal((await read(reader, 'whole', 0, 10)).length, 10, 'what is stored whole needs none')
  t.equal((await read(reader, 'small', 0, 10)).length, 10, 'nor does what is small')
  await held.return(undefined)
  t.equal((await read(reader, delta, 0, 10)).length, 10)
  await t.rejects(collect(reader.stream(view, view.named(oids[delta]!), { from: 0, to: 1 }, AbortSignal.abort())), { code: 'cancelled' })
})

t.test('a pack that does not hold what its table says is corrupt, and never a shorter file', async (t) => {
  const reader = createBlobReader()
  const spoilt = (at: (entry: number) => number): PackView =>
    altered(view, {
      async read(pack, from, to) {
        const bytes = Buffer.from(await view.read(pack, from, to))
        const place = at(from)
        if (place >= from && place < to) bytes[place - from]! ^= 0x55
        return bytes
      },
    })
  for (const name of ['whole', 'zeros', 'large', 'largeToo', 'largeThree', 'small']) {
    const entry = view.named(oids[name]!)
    const [from, end] = [view.offsetOf(entry), view.endOf(entry)]
    const size = contents[name]!.length
    // In the middle of nothing but zeros a byte may change and nothing else with it.
    for (const place of [from, end - 2, ...(name === 'zeros' ? [] : [Math.floor((from + end) / 2)])]) {
      await t.rejects(
        read(
          reader,
          name,
          0,
          size,
          spoilt(() => place),
        ),
        ProtocolError,
        `${name}, byte ${place - from} of ${end - from}`,
      )
    }
    const lies: Readonly<Record<string, Partial<PackView>>> = {
      longer: { sizeOf: (one) => view.sizeOf(one) + (one === entry ? 1 : 0) },
      shorter: { sizeOf: (one) => view.sizeOf(one) - (one === entry ? 1 : 0) },
      // A small one is read with what stands behind it, and so is whole all the same.
      ...(name === 'small' ? {} : { cut: { endOf: (one: number) => view.endOf(one) - (one === entry ? 6 : 0) } }),
    }
    for (const [lie, changes] of Object.entries(lies))
      await t.rejects(read(reader, name, 0, size, altered(view, changes)), { code: 'corrupt' }, `${name}: ${lie}`)
  }
})

t.test('where pack and table lie alike, the bytes themselves decide', async (t) => {
  for (const name of ['whole', 'zeros']) {
    const entry = view.named(oids[name]!)
    const at = view.offsetOf(entry)
    for (const by of [-1, 1]) {
      const header = encodeEntryHeader(3, view.sizeOf(entry) + by)
      const lying = altered(view, {
        sizeOf: (one) => view.sizeOf(one) + (one === entry ? by : 0),
        async read(pack, from, to) {
          const bytes = Buffer.from(await view.read(pack, from, to))
          if (from === at) bytes.set(header)
          return bytes
        },
      })
      await t.rejects(read(createBlobReader(), name, 0, view.sizeOf(entry) + by, lying), { code: 'corrupt' }, `${name} ${by}`)
    }
  }
})

t.test('bases that lead in a circle have an end', async (t) => {
  const entry = view.named(oids['small']!)
  await t.rejects(read(createBlobReader(), 'small', 0, 1, altered(view, { baseOf: () => entry })), { code: 'corrupt' })
})
