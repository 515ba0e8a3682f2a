import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { hashObject } from '../../protocol/objects/hash.js'
import { encodeEntryHeader, encodeOfsDistance } from '../../protocol/pack/entry.js'
import { PackIndexer, type ByteSource, type IndexLimits, type PackIndex } from '../../protocol/pack/indexer.js'
import type { ObjectType } from '../../protocol/types.js'
import { git } from './git.js'

export const limits: IndexLimits = {
  maxObjects: 100_000,
  maxObjectBytes: 100 * 2 ** 20,
  maxStructureBytes: 50 * 2 ** 20,
  maxInflatedBytes: 2 ** 30,
  largeBlobBytes: 10 * 2 ** 20,
  maxDeltaDepth: 4095,
  cacheBytes: 2 ** 24,
}

export interface Base {
  readonly type: ObjectType
  readonly data: Uint8Array
}

export interface Indexed {
  readonly index: PackIndex
  readonly indexer: PackIndexer
  /** Completed, if it was thin. */
  readonly pack: Buffer
  readonly steps: number
}

export interface IndexOptions {
  readonly limits?: Partial<IndexLimits>
  readonly bases?: ReadonlyMap<string, Base>
  readonly onBlob?: (data: Uint8Array, oid: Uint8Array) => void
}

/** Hands out copies that are spoilt by the next read, so that nobody relies on them for longer. */
export function sourceOf(bytes: () => Buffer): ByteSource {
  let last = Buffer.alloc(0)
  return {
    get length() {
      return bytes().length
    },
    read(from, to) {
      if (from < 0 || to > bytes().length || from > to) throw new RangeError(`read of ${from} to ${to}`)
      last.fill(0xee)
      last = Buffer.from(bytes().subarray(from, to))
      return last
    },
  }
}

export function indexPack(received: Buffer, options: IndexOptions = {}): Indexed {
  const indexer = new PackIndexer({ ...limits, ...options.limits }, options.onBlob ? { inspectBlob: options.onBlob } : {})
  let pack = received
  let steps = 0
  const source = sourceOf(() => pack)
  const run = (work: Iterable<unknown>): void => {
    for (const _ of work) steps += 1
  }
  run(indexer.scan(source))
  run(indexer.resolve(source))
  for (const name of indexer.missingBases()) {
    const base = options.bases?.get(name.toString('hex'))
    if (!base) continue
    const at = pack.length - (indexer.addedBases === 0 ? 20 : 0)
    pack = Buffer.concat([pack.subarray(0, at), indexer.addBase(name, base.type, base.data, at)])
    run(indexer.resolve(source))
  }
  if (indexer.addedBases > 0) {
    const body = Buffer.from(pack)
    body.writeUInt32BE(body.readUInt32BE(8) + indexer.addedBases, 8)
    pack = sealed(body)
  }
  return { index: indexer.finish(pack.subarray(-20), pack.length), indexer, pack, steps }
}

export const sha1 = (bytes: Uint8Array): Buffer => createHash('sha1').update(bytes).digest()
export const sealed = (body: Buffer): Buffer => Buffer.concat([body, sha1(body)])
export const resealed = (pack: Buffer): Buffer => sealed(pack.subarray(0, -20))

export type Entry =
  | { readonly type: ObjectType; readonly data: Buffer }
  | { readonly base: string; readonly delta: Buffer }
  | { readonly back: number; readonly delta: Buffer }

/** A pack of such entries; `back` counts entries. */
export function packOf(entries: readonly Entry[], count = entries.length): Buffer {
  const parts = [Buffer.from('PACK\0\0\0\x02', 'latin1'), Buffer.alloc(4)]
  parts[1]!.writeUInt32BE(count)
  const offsets: number[] = []
  let offset = 12
  entries.forEach((entry, i) => {
    offsets.push(offset)
    let head: Buffer
    if ('type' in entry) head = encodeEntryHeader(entry.type, entry.data.length)
    else if ('base' in entry) head = Buffer.concat([encodeEntryHeader(7, entry.delta.length), Buffer.from(entry.base, 'hex')])
    else head = Buffer.concat([encodeEntryHeader(6, entry.delta.length), encodeOfsDistance(offset - offsets[i - entry.back]!)])
    const bytes = Buffer.concat([head, deflateSync('type' in entry ? entry.data : entry.delta)])
    parts.push(bytes)
    offset += bytes.length
  })
  return sealed(Buffer.concat(parts))
}

export function sizeVarint(size: number): Buffer {
  const bytes: number[] = []
  let rest = size
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(0x80 | (rest % 128))
  return Buffer.from([...bytes, rest])
}

/** A delta that inserts the whole result. */
export function insertDelta(base: Buffer, result: Buffer): Buffer {
  const parts = [sizeVarint(base.length), sizeVarint(result.length)]
  for (let at = 0; at < result.length; at += 127) {
    const piece = result.subarray(at, at + 127)
    parts.push(Buffer.from([piece.length]), piece)
  }
  return Buffer.concat(parts)
}

export const blob = (text: string): { readonly type: ObjectType; readonly data: Buffer } => ({ type: 3, data: Buffer.from(text) })
export const nameOf = (object: Base): string => hashObject(object.type, object.data).toString('hex')

export const commitOf = (tree: string, ...parents: string[]): Base & { data: Buffer } => ({
  type: 1,
  data: Buffer.from(
    [
      `tree ${tree}`,
      ...parents.map((parent) => `parent ${parent}`),
      'author A U Thor <author@example.com> 1700000000 +0000',
      'committer A U Thor <author@example.com> 1700000000 +0000',
      '',
      'message\n',
    ].join('\n'),
  ),
})

export const treeOf = (...entries: [mode: string, name: string, oid: string][]): Base & { data: Buffer } => ({
  type: 2,
  data: Buffer.concat(entries.flatMap(([mode, name, oid]) => [Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, 'hex')])),
})

export const hexes = (oids: Uint8Array): string[] =>
  Array.from({ length: oids.length / 20 }, (_, i) => Buffer.from(oids.subarray(i * 20, i * 20 + 20)).toString('hex'))

/** What C git makes of a pack: its .idx, its .rev, and the lines of verify-pack. With a repository to lean on: strictly. */
export async function indexedByGit(pack: Buffer, repository?: string): Promise<{ idx: Buffer; rev: Buffer; objects: string[] }> {
  const dir = mkdtempSync(join(tmpdir(), 'cairn-index-pack-'))
  try {
    const path = join(dir, 'x.pack')
    writeFileSync(path, pack)
    await git(['index-pack', '--rev-index', ...(repository ? ['--strict'] : []), path], { cwd: repository ?? dir })
    const { stdout } = await git(['verify-pack', '-v', path], { cwd: repository ?? dir })
    return {
      idx: readFileSync(join(dir, 'x.idx')),
      rev: readFileSync(join(dir, 'x.rev')),
      objects: stdout
        .toString()
        .split('\n')
        .filter((line) => /^[0-9a-f]{40} /.test(line)),
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
