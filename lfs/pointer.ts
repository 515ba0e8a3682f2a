import { LfsError } from './errors.js'
import { isLfsOid, isSize, parseLfsOid, type LfsOid } from './types.js'

/** What a pointer file stands for. */
export interface Pointer {
  readonly oid: LfsOid
  /** Bytes. */
  readonly size: number
}

/** A longer blob is no pointer, whatever it says. */
export const maxPointerBytes = 1024

const version = 'https://git-lfs.github.com/spec/v1'
/** Today's address and what the program was called before. */
const versions: ReadonlySet<string> = new Set([version, 'https://hawser.github.com/spec/v1', 'http://git-media.io/v/2'])

/**
 * What the blob points to, or undefined when it is no pointer. As lenient as git-lfs itself, so that nothing it would fetch is taken
 * for unused: blank lines, CRLF, extensions and space around the whole are passed over; the order of the keys is not. The empty file is no pointer.
 *
 * Spec: git-lfs docs/spec.md, "The Pointer".
 */
export function parsePointer(data: Uint8Array): Pointer | undefined {
  if (data.length > maxPointerBytes || data.length < 'version '.length) return undefined
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1').trim()
  if (!text.startsWith('version ') && !text.startsWith('ext-')) return undefined
  const [versionLine = '', ...lines] = text.split(/\r?\n/).filter((line) => line !== '' && !/^ext-\d-\S+ /.test(line))
  const [oidLine = '', sizeLine = '', ...extra] = lines
  if (extra.length > 0 || !versionLine.startsWith('version ') || !versions.has(versionLine.slice('version '.length))) return undefined
  const oid = /^oid sha256:(.*)$/s.exec(oidLine)?.[1] ?? ''
  const digits = /^size \+?(\d{1,20})$/.exec(sizeLine)?.[1]
  if (!isLfsOid(oid) || digits === undefined) return undefined
  const size = Number(digits)
  return isSize(size) ? { oid, size } : undefined
}

/**
 * The pointer file as git-lfs writes it.
 * @throws LfsError `bad-oid`, `bad-size`
 */
export function encodePointer({ oid, size }: { readonly oid: string; readonly size: number }): Buffer {
  if (!isSize(size)) throw new LfsError('bad-size', `${String(size)} is not a size in bytes`)
  return Buffer.from(`version ${version}\noid sha256:${parseLfsOid(oid)}\nsize ${size}\n`)
}
