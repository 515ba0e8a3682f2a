import { isLfsOid, type LfsOid } from '../../lfs/types.js'
import type { PackView, Slices, StagedBinary, StagedPointer } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import type { LargeFiles } from '../large-files/large-files.js'
import { findBlobPaths } from './blob-paths.js'

export interface LargeFilePolicyInput {
  readonly repoId: number
  /** Pack and repository together. */
  readonly view: PackView
  readonly pointers: readonly StagedPointer[]
  readonly binaries: readonly StagedBinary[]
  /** New values of the refs. */
  readonly tips: readonly Oid[]
  readonly largeFiles: Pick<LargeFiles, 'find'>
  /** What binaries may have outside git-lfs, bytes. */
  readonly maxBinaryBytes: number
  readonly slices: Slices
}

export interface LargeFileVerdict {
  /** Why nothing of the push is taken; undefined: it is. */
  readonly refusal: string | undefined
  /** What the pusher is told beside. */
  readonly advice: readonly string[]
  /** Large objects that the pack points at, each linked to the repository. */
  readonly lfsOids: readonly LfsOid[]
}

/** Named one by one in a refusal. */
const maxNamed = 10
const oidsAtOnce = 5_000

/**
 * Every pointer needs its large object, sent to this repository; every large binary needs to be behind a pointer. A clone would have holes in it
 * otherwise, or carry for ever what nobody can take out again.
 */
export async function judgeLargeFiles(input: LargeFilePolicyInput): Promise<LargeFileVerdict> {
  const { repoId, pointers, binaries, largeFiles, maxBinaryBytes } = input
  const oids = [...new Set(pointers.map(({ lfsOid }) => lfsOid))].filter(isLfsOid)
  const sizes = new Map<string, number>()
  for (let at = 0; at < oids.length; at += oidsAtOnce) {
    for (const [oid, size] of await largeFiles.find(repoId, oids.slice(at, at + oidsAtOnce))) sizes.set(oid, size)
  }
  const missing = pointers.filter(({ lfsOid, size }) => sizes.get(lfsOid) !== size)
  if (missing.length > 0) {
    const named = await nameFirst(input, missing, ({ lfsOid, size }) => {
      const stored = sizes.get(lfsOid)
      return stored === undefined ? lfsOid : `${lfsOid} of ${size} bytes, which has ${stored}`
    })
    return {
      refusal: `${count(missing.length, 'git-lfs object')} missing: ${named[0]}${missing.length > 1 ? ', …' : ''}`,
      advice: [
        'these files are git-lfs pointers whose content was not sent to this repository:',
        ...named.map((line) => `  ${line}`),
        ...andMore(missing.length),
        'send it with: git lfs push --all <remote>, and push again',
      ],
      lfsOids: [],
    }
  }
  const large = binaries.filter(({ size }) => size > maxBinaryBytes)
  if (large.length > 0) {
    const named = await nameFirst(input, large, ({ size }) => `${size} bytes`)
    const limit = `${Math.floor(maxBinaryBytes / 2 ** 20)}MiB`
    return {
      refusal: `${count(large.length, 'binary file')} over ${limit} outside git-lfs: ${named[0]}${large.length > 1 ? ', …' : ''}`,
      advice: [
        `binary files of more than ${maxBinaryBytes} bytes are kept in git-lfs here:`,
        ...named.map((line) => `  ${line}`),
        ...andMore(large.length),
        `move them there with: git lfs migrate import --above=${limit} <branch>`,
        'that makes new commits of those that were not pushed yet; then push again',
      ],
      lfsOids: [],
    }
  }
  return { refusal: undefined, advice: [], lfsOids: oids }
}

/** `path (facts)`, of the first ones. */
async function nameFirst<T extends { readonly blob: Oid }>(
  { view, tips, slices }: LargeFilePolicyInput,
  blobs: readonly T[],
  facts: (blob: T) => string,
): Promise<string[]> {
  const first = blobs.slice(0, maxNamed)
  const paths = await findBlobPaths(view, tips, new Set(first.map(({ blob }) => blob)), slices)
  return first.map((blob) => `${paths.get(blob.blob) ?? `blob ${blob.blob}`} (${facts(blob)})`)
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
const andMore = (n: number): string[] => (n > maxNamed ? [`  and ${n - maxNamed} more`] : [])
