import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { basename, join } from 'node:path'

/** What a running server wrote about itself. */
export interface Postmaster {
  readonly pid: number
  readonly socketDirectory: string
  readonly port: number
  readonly status: 'starting' | 'ready' | 'stopping'
}

/** The server that runs on a data folder, if one does. A file left by a dead one, or by a number that is somebody else's now, is none. */
export function findPostmaster(dataFolder: string): Postmaster | undefined {
  const lines = readPidFile(dataFolder)
  if (lines === undefined) return undefined
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 0 || !isServerOf(pid, dataFolder)) return undefined
  const word = lines[7]?.trim() ?? ''
  const status = word === 'ready' || word === 'standby' ? 'ready' : word === 'stopping' ? 'stopping' : 'starting'
  return { pid, port: Number(lines[3]), socketDirectory: lines[4]?.trim() ?? '', status }
}

/** Whether a file of a server lies there, whoever it was. */
export const hasPidFile = (dataFolder: string): boolean => readPidFile(dataFolder) !== undefined

function readPidFile(dataFolder: string): readonly string[] | undefined {
  try {
    return readFileSync(join(dataFolder, 'postmaster.pid'), 'utf8').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Processes of a server that are still there, the server's own or orphans of a killed one. Empty where the system does not tell. */
export function processesOf(dataFolder: string): readonly number[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && worksIn(pid, dataFolder) === true)
}

function isServerOf(pid: number, dataFolder: string): boolean {
  if (process.platform !== 'linux') return spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout.includes('postgres')
  let command: string
  try {
    command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return false
  }
  const program = command.split('\0')[0] ?? ''
  if (basename(program) !== 'postgres') return false // a dead one not yet buried has no command line
  // A server works in its data folder. In some containers root may not see where others work: then its name and number must do.
  return worksIn(pid, dataFolder) !== false
}

/** By the folder itself and not its name, which may have changed since. undefined: we may not know. */
function worksIn(pid: number, dataFolder: string): boolean | undefined {
  try {
    readlinkSync(`/proc/${pid}/cwd`)
    const there = statSync(`/proc/${pid}/cwd`)
    const own = statSync(dataFolder)
    return there.ino === own.ino && there.dev === own.dev
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EACCES' || code === 'EPERM' ? undefined : false
  }
}
