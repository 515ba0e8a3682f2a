import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeObjectTable, ObjectTable } from '../../protocol/pack/object-table.js'
import { entryAt, packOf, rankOf, type Entry, type PackView } from '../../protocol/ports.js'
import type { ObjectType, Oid, Ref, RefName } from '../../protocol/types.js'
import { git } from './git.js'
import { indexPack } from './packs.js'
import { refTable } from './wire.js'

export interface MemoryPack {
  readonly bytes: Buffer
  readonly table: ObjectTable
}

/** A whole pack with the table the indexer makes of it. */
export function memoryPack(pack: Buffer): MemoryPack {
  const { index, pack: bytes } = indexPack(pack, { limits: { maxObjects: 1_000_000, maxInflatedBytes: 2 ** 33 } })
  return { bytes, table: ObjectTable.open(encodeObjectTable(index, Buffer.alloc(32))) }
}

/** What a view over packs in memory is made of, and what was asked of it. */
export interface MemoryView extends PackView {
  /** Reads so far. */
  readonly reads: number
  /** All objects, each by the entry that is found for it. */
  entries(): Entry[]
  named(oid: string): Entry
}

/** A view that searches the packs in the order given. What it reads is spoilt by the next read, so that nobody relies on it for longer. */
export function packView(packs: readonly MemoryPack[], refs: readonly Ref[] = []): MemoryView {
  const tableOf = (entry: Entry): ObjectTable => packs[packOf(entry)]!.table
  let last = Buffer.alloc(0)
  let reads = 0
  return {
    refs: refTable(refs),
    packCount: packs.length,
    get reads() {
      return reads
    },
    objectsIn: (pack) => packs[pack]!.table.count,
    find(oid) {
      for (const [pack, { table }] of packs.entries()) {
        const row = table.findRow(oid)
        if (row !== -1) return entryAt(pack, table.rankOfRow(row))
      }
      return -1
    },
    oidOf: (entry, into) => tableOf(entry).oidOfRank(rankOf(entry), into),
    typeOf: (entry): ObjectType => tableOf(entry).typeOf(rankOf(entry)),
    sizeOf: (entry) => tableOf(entry).sizeOf(rankOf(entry)),
    offsetOf: (entry) => tableOf(entry).offsetOf(rankOf(entry)),
    endOf: (entry) => tableOf(entry).endOf(rankOf(entry)),
    baseOf(entry) {
      const base = tableOf(entry).baseOf(rankOf(entry))
      return base === -1 ? -1 : entryAt(packOf(entry), base)
    },
    isRefDelta: (entry) => tableOf(entry).isRefDelta(rankOf(entry)),
    async read(pack, from, to) {
      reads += 1
      last.fill(0xee)
      last = Buffer.from(packs[pack]!.bytes.subarray(from, to))
      return last
    },
    release() {},
    entries() {
      const oid = Buffer.alloc(20)
      return packs.flatMap(({ table }, pack) =>
        Array.from({ length: table.count }, (_, rank) => entryAt(pack, rank)).filter((entry) => {
          this.oidOf(entry, oid)
          return this.find(oid, 'read') === entry
        }),
      )
    },
    named(oid) {
      return this.find(Buffer.from(oid, 'hex'), 'read')
    },
  }
}

/** The packs of a repository, in the order of their names, or in another one. */
export function packsIn(bare: string, order: (names: string[]) => string[] = (names) => names): MemoryPack[] {
  const folder = join(bare, 'objects', 'pack')
  const names = readdirSync(folder).filter((name) => name.endsWith('.pack'))
  return order(names.toSorted()).map((name) => memoryPack(readFileSync(join(folder, name))))
}

/** The refs of a repository as a view lists them. */
export async function refsIn(bare: string): Promise<Ref[]> {
  const { stdout } = await git(['for-each-ref', '--format=%(refname) %(objectname)'], { cwd: bare })
  const refs: Ref[] = []
  for (const line of stdout.toString('latin1').split('\n').filter(Boolean)) {
    const [name, oid] = line.split(' ') as [RefName, Oid]
    const peeled = (await git(['rev-parse', `${oid}^{}`], { cwd: bare })).stdout.toString().trim() as Oid
    refs.push(peeled === oid ? { name, oid } : { name, oid, peeled })
  }
  return refs
}

/** A repository as it stands: its packs (loose objects are not seen) and its refs. */
export async function viewOf(bare: string, order?: (names: string[]) => string[]): Promise<MemoryView> {
  return packView(packsIn(bare, order), await refsIn(bare))
}

/** The same view where some calls answer otherwise: for what real packs cannot be made to show. */
export function altered(view: MemoryView, changes: Partial<PackView>): PackView {
  return Object.assign(Object.create(view) as PackView, changes)
}
