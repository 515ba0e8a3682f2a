import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { ProtocolError } from '../../protocol/errors.js'
import { checkGitattributes, checkGitmodules, checkObject } from '../../protocol/objects/check.js'
import { hashObject } from '../../protocol/objects/hash.js'
import { objectTypeNames } from '../../protocol/types.js'
import { git } from './git.js'
import { blob, commitOf, nameOf, packOf, treeOf, type Base } from './packs.js'

/** What test objects may refer to, so that git complains of nothing but themselves. */
export const filler = blob('filler\n')
export const fillerTree = treeOf(['100644', 'filler', nameOf(filler)])
export const fillerCommit = commitOf(nameOf(fillerTree))

/** Slips of old public histories that the hub lets pass, by git's names. The others of that kind are `info` to git, and pass anyway. */
const tolerated = ['zeroPaddedFilemode', 'badTimezone', 'missingSpaceBeforeDate', 'missingEmail']

/**
 * What `git index-pack --strict` says of a push of these objects: '' when it takes them. It forgives what the hub forgives, unless `forgive`
 * is false.
 */
export async function refusedByGit(objects: readonly Base[], { forgive = true } = {}): Promise<string> {
  const repository = await emptyRepository()
  const dir = mkdtempSync(join(repository, 'case-'))
  try {
    const all = new Map([filler, fillerTree, fillerCommit, ...objects].map((object) => [nameOf(object), object]))
    const path = join(dir, 'x.pack')
    writeFileSync(path, packOf([...all.values()].map(({ type, data }) => ({ type, data: Buffer.from(data) }))))
    const strict = forgive ? `--strict=${tolerated.map((name) => `${name}=ignore`).join(',')}` : '--strict'
    const { code, stderr } = await git(['index-pack', strict, path], { cwd: repository, ok: false })
    if (code === -1) throw new Error(`git index-pack was killed: ${stderr}`)
    return code === 0 ? '' : stderr || `ended with ${code}`
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

let repository: Promise<string> | undefined

/** Without a repository around it, index-pack falls over blobs that it wants to read again. Gone with the process. */
function emptyRepository(): Promise<string> {
  return (repository ??= (async () => {
    const dir = mkdtempSync(join(tmpdir(), 'cairn-judge-'))
    process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
    await git(['init', '-q', '--bare', dir])
    return dir
  })())
}

/** What the hub says of a push of these objects: '' when it takes them. `.gitmodules` and `.gitattributes` are looked up among them. */
export function refusedByUs(objects: readonly Base[]): string {
  const byName = new Map(objects.map((object) => [nameOf(object), object]))
  try {
    for (const { type, data } of objects) {
      checkObject(
        type,
        data,
        () => {},
        (kind, bytes, offset) => {
          const found = byName.get(Buffer.from(bytes.subarray(offset, offset + 20)).toString('hex'))
          if (found) (kind === 'gitmodules' ? checkGitmodules : checkGitattributes)(found.data)
        },
      )
    }
    return ''
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return `${error.code}: ${error.message}`
  }
}

/** The names of all complaints that `git fsck --strict` has of each object, by oid. All objects go into one repository, so thousands are cheap. */
export async function fsck(objects: readonly Base[]): Promise<Map<string, Set<string>>> {
  const dir = mkdtempSync(join(tmpdir(), 'cairn-fsck-'))
  try {
    await git(['init', '-q', dir])
    for (const object of new Map([filler, fillerTree, fillerCommit, ...objects].map((object) => [nameOf(object), object])).values()) {
      const oid = hashObject(object.type, object.data).toString('hex')
      mkdirSync(join(dir, '.git/objects', oid.slice(0, 2)), { recursive: true })
      const content = Buffer.concat([Buffer.from(`${objectTypeNames[object.type]} ${object.data.length}\0`), object.data])
      writeFileSync(join(dir, '.git/objects', oid.slice(0, 2), oid.slice(2)), deflateSync(content, { level: 1 }))
    }
    const { stdout, stderr } = await git(['fsck', '--strict', '--no-dangling', '--no-progress'], { cwd: dir, ok: false })
    const found = new Map<string, Set<string>>()
    for (const [, oid = '', complaint = ''] of `${stdout.toString('latin1')}\n${stderr}`.matchAll(
      /^(?:error|warning) in \w+ ([0-9a-f]{40}): (\w+)/gm,
    )) {
      found.set(oid, (found.get(oid) ?? new Set()).add(complaint))
    }
    return found
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** The same numbers below `bound` every time, for the same seed (mulberry32). */
export function seeded(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

/** A copy with one to four bytes changed, dropped, doubled or put in, the rest as it is. */
export function mutated(data: Uint8Array, below: (bound: number) => number, bytes: readonly number[]): Buffer {
  const result = [...data]
  for (let i = below(4); i >= 0; i--) {
    const at = below(result.length + 1)
    const byte = below(2) === 0 ? below(256) : bytes[below(bytes.length)]!
    const what = below(4)
    if (what === 0) result[Math.min(at, result.length - 1)] = byte
    else if (what === 1) result.splice(at, 1 + below(8))
    else if (what === 2) result.splice(at, 0, byte)
    else result.splice(at, 0, ...result.slice(Math.max(0, at - 1 - below(40)), at))
  }
  return Buffer.from(result)
}
