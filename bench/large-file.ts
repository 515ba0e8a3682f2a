import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { promisify } from 'node:util'
import type { CallApi } from '../test/support/api.js'

const run = promisify(execFile)
const GiB = 2 ** 30

export interface LargeFile {
  /** SHA-256 in hex. */
  readonly oid: string
  /** Bytes. */
  readonly size: number
}

/** Writes 1 GiB that nothing has seen before. */
export async function makeLargeFile(path: string): Promise<LargeFile> {
  await run('bash', ['-c', `head -c ${GiB} /dev/urandom > "$1"`, 'bash', path])
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return { oid: hash.digest('hex'), size: GiB }
}

/** The address that a batch gives for it. */
export async function askForLarge(
  hub: { readonly api: CallApi },
  repo: string,
  operation: 'upload' | 'download',
  object: LargeFile,
): Promise<string> {
  const { body } = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation, objects: [object] })
  return (body as { objects: [{ actions: Record<string, { href: string }> }] }).objects[0].actions[operation]!.href
}

export const putFile = (path: string, url: string): Promise<unknown> => run('curl', ['-sS', '--fail', '-T', path, '-H', 'Expect:', url])
export const getNowhere = (url: string): Promise<unknown> => run('curl', ['-sS', '--fail', '-o', '/dev/null', url])
