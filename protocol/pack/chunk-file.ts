import { ProtocolError } from '../errors.js'
import { fanoutBytes, oidRowsComplaint, writeFanout, type OidRows } from './oid-rows.js'
import { allocateSideFile, checksumBytes, isSealed, readWords, sealSideFile } from './side-file.js'

/**
 * The frame that multi-pack indexes and commit graphs share.
 *
 *     signature, 4 bytes · version 1 · hash 1 (SHA-1) · chunks C · base files 0 · more header
 *     (C + 1) × (id, 4 bytes · first byte u64), the last with id 0 where the chunks end · chunks · SHA-1 of all before
 *
 * Spec: gitformat-chunk(5).
 */
const commonHeaderBytes = 8
const rowBytes = 12

export interface ChunkFileKind {
  /** For messages: `multi-pack index`. */
  readonly name: string
  readonly signature: string
  /** Header bytes behind the common ones. */
  readonly extraBytes: number
}

/** A chunk to be written. */
export interface Chunk {
  readonly id: string
  readonly bytes: number
  /** Fills the chunk, which begins at byte `at` of the file and is zero. */
  write(file: Buffer, at: number): void
}

/**
 * A file of these chunks, in their order.
 * @throws ProtocolError `too-large`
 */
export function encodeChunkFile(kind: ChunkFileKind, extra: Uint8Array, chunks: readonly Chunk[]): Buffer {
  const tocAt = commonHeaderBytes + kind.extraBytes
  let at = tocAt + (chunks.length + 1) * rowBytes
  const end = chunks.reduce((sum, { bytes }) => sum + bytes, at)
  const file = allocateSideFile(end + checksumBytes, `a ${kind.name}`)
  file.write(kind.signature, 0, 'latin1')
  file.set([1, 1, chunks.length, 0], 4)
  file.set(extra, commonHeaderBytes)
  chunks.forEach((chunk, i) => {
    file.write(chunk.id, tocAt + i * rowBytes, 'latin1')
    file.writeBigUInt64BE(BigInt(at), tocAt + i * rowBytes + 4)
    chunk.write(file, at)
    at += chunk.bytes
  })
  file.writeBigUInt64BE(BigInt(at), tocAt + chunks.length * rowBytes + 4)
  return sealSideFile(file)
}

/** The chunks OIDF and OIDL: fan-out 256 × u32 and oids, ascending, `count` × 20, which `write` puts down. */
export function oidChunks(count: number, write: (file: Buffer, at: number) => void): Chunk[] {
  return [
    { id: 'OIDF', bytes: fanoutBytes, write: () => {} },
    {
      id: 'OIDL',
      bytes: count * 20,
      write(file, at) {
        write(file, at)
        writeFanout(file, at - fanoutBytes, at, count)
      },
    },
  ]
}

/** An open file: the bytes of its chunks are not copied. */
export class ChunkFile {
  readonly kind: ChunkFileKind
  readonly extra: Buffer
  readonly checksum: Buffer
  readonly #chunks = new Map<string, Buffer>()

  /**
   * Opens a file and checks its frame and its checksum.
   * @throws ProtocolError `corrupt`
   */
  constructor(kind: ChunkFileKind, bytes: Uint8Array) {
    this.kind = kind
    const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    const tocAt = commonHeaderBytes + kind.extraBytes
    if (file.length < tocAt + rowBytes + checksumBytes) throw this.corrupt('is cut off')
    if (file.toString('latin1', 0, 4) !== kind.signature) throw this.corrupt('is none')
    if (file[4] !== 1) throw this.corrupt(`has version ${file[4]}`)
    if (file[5] !== 1) throw this.corrupt('is not of SHA-1')
    if (file[7] !== 0) throw this.corrupt('is a part of a chain')
    if (!isSealed(file)) throw this.corrupt('does not match its checksum')
    this.extra = file.subarray(commonHeaderBytes, tocAt)
    this.checksum = file.subarray(file.length - checksumBytes)
    this.#readContents(file, tocAt, file[6]!)
  }

  /** A chunk of so many bytes; undefined: of any number. @throws ProtocolError `corrupt` */
  chunk(id: string, bytes?: number): Buffer {
    const chunk = this.#chunks.get(id)
    if (!chunk) throw this.corrupt(`has no chunk ${id}`)
    if (bytes !== undefined && chunk.length !== bytes) throw this.corrupt(`has a chunk ${id} of ${chunk.length} bytes and not ${bytes}`)
    return chunk
  }

  has(id: string): boolean {
    return this.#chunks.has(id)
  }

  /** What OIDF and OIDL say. @throws ProtocolError `corrupt` */
  oidRows(): OidRows {
    const fanout = readWords(this.chunk('OIDF', fanoutBytes), 0, 256)
    const count = fanout[255]!
    const rows = { bytes: this.chunk('OIDL', count * 20), oidsAt: 0, fanout, count }
    const complaint = oidRowsComplaint(rows)
    if (complaint !== undefined) throw this.corrupt(complaint)
    return rows
  }

  corrupt(what: string): ProtocolError {
    return new ProtocolError('corrupt', `${this.kind.name} ${what}`)
  }

  #readContents(file: Buffer, tocAt: number, count: number): void {
    const end = file.length - checksumBytes
    let from = tocAt + (count + 1) * rowBytes
    if (from > end) throw this.corrupt('is cut off')
    for (let row = 0; row <= count; row++) {
      const at = tocAt + row * rowBytes
      const id = file.toString('latin1', at, at + 4)
      if (Number(file.readBigUInt64BE(at + 4)) !== from) throw this.corrupt('has chunks that do not follow one another')
      if ((id === '\0\0\0\0') !== (row === count)) throw this.corrupt('has a table of contents that ends elsewhere')
      if (row === count) break
      const to = Number(file.readBigUInt64BE(at + rowBytes + 4))
      if (to < from || to > end) throw this.corrupt('has a chunk beyond its end')
      if (this.#chunks.has(id)) throw this.corrupt(`has two chunks ${id}`)
      this.#chunks.set(id, file.subarray(from, to))
      from = to
    }
    if (from !== end) throw this.corrupt('has something behind its chunks')
  }
}
