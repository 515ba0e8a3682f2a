import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { answerPack } from '../../protocol/pack/writer.js'
import type { PackRequest, PackView, WorkOptions } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import { git } from './git.js'
import { collect, noSlices } from './wire.js'

/** The whole answer to a request; what it does not say: nothing had, offsets, no thin pack, no tags. */
export function answer(view: PackView, request: Partial<PackRequest>, options: Partial<WorkOptions> = {}): Promise<Buffer> {
  const full: PackRequest = { wants: [], haves: [], thinPack: false, ofsDelta: true, includeTag: false, ...request }
  return collect(answerPack(view, full, { slices: noSlices, ...options }))
}

/** What an expression of git names: `main~3`, `v1^{tree}`. */
export async function oidIn(repository: string, expression: string): Promise<Oid> {
  return (await git(['rev-parse', '--verify', '-q', expression], { cwd: repository })).stdout.toString().trim() as Oid
}

/** Oids that `git rev-list --objects` prints for these arguments, sorted. */
export async function closureIn(repository: string, args: readonly string[]): Promise<string[]> {
  const { stdout } = await git(['rev-list', '--objects', '--no-object-names', ...args], { cwd: repository })
  return stdout.toString().split('\n').filter(Boolean).toSorted()
}

/** A new bare repository that has exactly what can be reached from the haves in the other one. */
export async function clientWith(folder: string, origin: string, haves: readonly string[]): Promise<string> {
  mkdirSync(folder, { recursive: true })
  await git(['init', '-q', '--bare', '.'], { cwd: folder })
  if (haves.length === 0) return folder
  const { stdout } = await git(['pack-objects', '-q', '--revs', '--stdout', '--delta-base-offset'], {
    cwd: origin,
    input: Buffer.from(haves.map((have) => `${have}\n`).join('')),
  })
  await git(['index-pack', '--stdin'], { cwd: folder, input: stdout })
  return folder
}

/**
 * Takes an answer into a client's repository as git would: strictly, and completing a thin pack only if one was asked for. Then refs point
 * at what was wanted, and everything must be connected. The oids that were sent, in the order of the pack.
 */
export async function takeInto(client: string, pack: Buffer, wants: readonly string[], thin: boolean): Promise<string[]> {
  const { stdout } = await git(['index-pack', '--strict', '--stdin', ...(thin ? ['--fix-thin'] : [])], { cwd: client, input: pack })
  const name = /[0-9a-f]{40}/.exec(stdout.toString())![0]
  for (const [i, want] of wants.entries()) await git(['update-ref', `refs/wanted/${i}`, want], { cwd: client })
  await git(['fsck', '--no-dangling', '--no-progress'], { cwd: client })
  const { stdout: index } = await git(['show-index'], { cwd: client, input: readFileSync(join(client, 'objects', 'pack', `pack-${name}.idx`)) })
  const rows = index
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((row) => row.split(' '))
  // Bases that completed the pack stand behind what was sent.
  return rows
    .toSorted(([a], [b]) => Number(a) - Number(b))
    .slice(0, pack.readUInt32BE(8))
    .map(([, oid]) => oid!)
}
