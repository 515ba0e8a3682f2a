import { encodePointer, maxPointerBytes, parsePointer } from '../../lfs/pointer.js'
import type { LfsOid } from '../../lfs/types.js'
import { hashObject } from '../../protocol/objects/hash.js'
import { oidFromBytes } from '../../protocol/oid.js'
import type { Slices } from '../../protocol/ports.js'
import { objectTypes, type Oid } from '../../protocol/types.js'
import { HubError } from '../errors.js'
import { foldersOf, isLfsPath, lfsLineFor, maxAttributesBytes, parseAttributes, type AttributesFile } from './lfs-attributes.js'
import type { PackObject } from './pack-stream.js'
import type { TreeChange } from './tree-merge.js'
import type { UploadBase } from './upload-base.js'
import type { SpooledFile } from './upload-spool.js'

/** Files over this go to git-lfs, text too, whatever the attributes and settings say: here and in git each is read whole. Bytes. */
const maxRegularBytes = 10 * 1024 * 1024

/** A file and where it goes. */
export interface PlannedFile {
  readonly path: string
  readonly content: SpooledFile
}

/** What becomes of the files of an upload. */
export interface UploadPlan {
  readonly changes: readonly TreeChange[]
  /** Every new blob once; its bytes are read again when they are wanted. */
  readonly blobs: ReadonlyMap<Oid, PackObject>
  /** What goes to git-lfs, each content once. */
  readonly large: readonly SpooledFile[]
}

export interface PlanLimits {
  /** Of all files that are not for git-lfs, together. */
  readonly maxPackBytes: number
  /** Binary files over this must not be outside git-lfs. */
  readonly maxBinaryBytes: number
}

/**
 * What each file is in git: itself, or the pointer to a large object. A large one that no `.gitattributes` speaks of gets a line there, or
 * it would be checked out as its pointer.
 * @throws HubError `invalid` for a `.gitattributes` that is too large, `too-large`
 */
export async function planUpload(
  files: readonly PlannedFile[],
  base: UploadBase,
  slices: Slices,
  { maxPackBytes, maxBinaryBytes }: PlanLimits,
): Promise<UploadPlan> {
  const attributes = await attributesOf(files, base)
  const largest = Math.min(maxRegularBytes, maxBinaryBytes)
  const changes: TreeChange[] = []
  const blobs = new Map<Oid, PackObject>()
  let regularBytes = 0
  const large = new Map<LfsOid, SpooledFile>()
  let undeclared = ''
  const add = (path: string, data: Uint8Array, again: PackObject['data']): void => {
    const blob = oidFromBytes(hashObject(objectTypes.blob, data))
    changes.push({ path, blob })
    blobs.set(blob, { type: objectTypes.blob, data: again })
  }
  for (const { path, content } of files) {
    const pause = slices.pause()
    if (pause) await pause
    const isDeclared = isLfsPath(path, attributes)
    if (content.size > largest || (isDeclared && (await isMadePointer(content)))) {
      if (!isDeclared) undeclared += lfsLineFor(path)
      large.set(content.sha256, content)
      const pointer = encodePointer({ oid: content.sha256, size: content.size })
      add(path, pointer, () => pointer)
    } else {
      regularBytes += content.size
      if (regularBytes > maxPackBytes) throw new HubError('too-large', `the files that are not for git-lfs have over ${maxPackBytes} bytes together`)
      add(path, await content.readAll(), () => content.readAll())
    }
  }
  if (undeclared !== '') {
    const text = await declaring(files, base, undeclared)
    const at = changes.findIndex(({ path }) => path === '.gitattributes')
    if (at !== -1) changes.splice(at, 1)
    add('.gitattributes', text, () => text)
  }
  return { changes, blobs, large: [...large.values()] }
}

/** As git-lfs decides: nothing is made of an empty file, and a pointer is one already. */
async function isMadePointer(content: SpooledFile): Promise<boolean> {
  if (content.size === 0) return false
  return content.size > maxPointerBytes || parsePointer(await content.readAll()) === undefined
}

/** Of all folders on the way to the files; what is sent takes the place of what is there. */
async function attributesOf(files: readonly PlannedFile[], base: UploadBase): Promise<ReadonlyMap<string, AttributesFile>> {
  const found = new Map<string, AttributesFile>()
  const sent = new Map(files.map(({ path, content }) => [path, content]))
  for (const folder of new Set(files.flatMap(({ path }) => foldersOf(path)))) {
    const data = (await readSent(sent.get(attributesPath(folder)))) ?? (await base.attributesIn(folder))
    if (data) found.set(folder, parseAttributes(data))
  }
  return found
}

const attributesPath = (folder: string): string => (folder === '' ? '.gitattributes' : `${folder}/.gitattributes`)

async function readSent(content: SpooledFile | undefined): Promise<Uint8Array | undefined> {
  if (content && content.size > maxAttributesBytes) {
    throw new HubError('invalid', `.gitattributes of ${content.size} bytes is over ${maxAttributesBytes}`)
  }
  return content?.readAll()
}

/** The topmost `.gitattributes` with lines for what would else be checked out as its pointer. */
async function declaring(files: readonly PlannedFile[], base: UploadBase, lines: string): Promise<Buffer> {
  const sent = files.find(({ path }) => path === '.gitattributes')
  const text = Buffer.from((await readSent(sent?.content)) ?? (await base.attributesIn('')) ?? new Uint8Array())
  const gap = text.length === 0 || text.at(-1) === 0x0a ? '' : '\n'
  return Buffer.concat([text, Buffer.from(gap + lines)])
}
