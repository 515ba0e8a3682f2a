import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { HubError } from '../../errors.js'
import { invocation, type Account } from './as-root.js'

export interface SocketFolderOptions {
  /** Where the path is remembered. */
  readonly folder: string
  readonly account: Account
  readonly env: Readonly<Record<string, string>>
}

/** The address of a Unix socket has 107 bytes; this is what its file name and ours leave. */
const maxBaseBytes = 107 - '/cairn-XXXXXX/.s.PGSQL.5432'.length
const pathFile = 'socket'
const prefix = 'cairn-'

/**
 * A new folder that only the account may enter, with a path short enough for a socket.
 * @throws HubError `config` when no place for one is found
 */
export function makeSocketFolder({ folder, account, env }: SocketFolderOptions): string {
  const bases = [process.env['XDG_RUNTIME_DIR'], tmpdir(), '/tmp', '/var/tmp', '/dev/shm']
  const usable = [...new Set(bases)].filter(
    (base): base is string => base !== undefined && base.startsWith('/') && Buffer.byteLength(base) <= maxBaseBytes && !/[",]/.test(base),
  )
  for (const base of usable) {
    const path = tryBase(base, account, env)
    if (path === undefined) continue
    writeFileSync(join(folder, pathFile), `${path}\n`)
    return path
  }
  throw new HubError('config', `no folder for the database's socket: none of ${usable.join(', ')} can be written. Set TMPDIR to a short path`)
}

/** What an earlier server used, if it is still a folder of that kind and its account's. */
export function rememberedSocketFolder(folder: string): string | undefined {
  let path: string
  try {
    path = readFileSync(join(folder, pathFile), 'utf8').trim()
  } catch {
    return undefined
  }
  if (!basename(path).startsWith(prefix)) return undefined
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() && stat.uid === statSync(folder).uid ? path : undefined
}

function tryBase(base: string, account: Account, env: Readonly<Record<string, string>>): string | undefined {
  let path: string | undefined
  try {
    path = mkdtempSync(join(base, prefix))
    chownSync(path, account.uid, account.gid)
  } catch {
    if (path !== undefined) rmSync(path, { recursive: true, force: true })
    return undefined
  }
  const { file, args, ids } = invocation(account, 'sh', ['-c', ': > "$1" && rm "$1"', 'sh', join(path, 'probe')])
  if (spawnSync(file, args, { ...ids, env, cwd: '/' }).status === 0) return path
  rmSync(path, { recursive: true, force: true })
  return undefined
}
