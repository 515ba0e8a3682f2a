import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { HubError } from '../../errors.js'

/**
 * Whom PostgreSQL runs as, because it refuses root. It decides who owns the files, so it is written beside them and stays.
 * `self`: we are not root. `nobody`: that account. `unshare`: root, who is called nobody in a user namespace; needs no open folders.
 */
export type AccountMode = 'self' | 'nobody' | 'unshare'

export interface Account {
  readonly mode: AccountMode
  /** Whose the files must be, as we see it. */
  readonly uid: number
  readonly gid: number
}

export interface Invocation {
  readonly file: string
  readonly args: readonly string[]
  readonly ids: { readonly uid?: number; readonly gid?: number }
}

export interface ChooseAccountOptions {
  /** The database's own folder; whose it is changes with the choice. */
  readonly folder: string
  readonly postgres: string
  readonly env: Readonly<Record<string, string>>
}

/** What to spawn so that `file` runs as the account. */
export function invocation(account: Account, file: string, args: readonly string[]): Invocation {
  switch (account.mode) {
    case 'self':
      return { file, args, ids: {} }
    case 'nobody':
      return { file, args, ids: { uid: account.uid, gid: account.gid } }
    case 'unshare':
      return { file: 'unshare', args: ['--user', `--map-user=${nobody().uid}`, `--map-group=${nobody().gid}`, '--', file, ...args], ids: {} }
  }
}

/**
 * The account that made the data, or for new data the first that works.
 * @throws HubError `config` when none does, or the data is somebody else's
 */
export function chooseAccount(options: ChooseAccountOptions): Account {
  const uid = process.getuid?.() ?? -1
  const made = madeBy(options.folder)
  if (uid !== 0) {
    if (made !== undefined && (made.mode !== 'self' || made.uid !== uid)) throw foreign(options.folder, made)
    return remember(options.folder, { mode: 'self', uid, gid: process.getgid?.() ?? -1 })
  }
  if (made?.mode === 'self') throw foreign(options.folder, made)
  const candidates: Account[] = [
    { mode: 'nobody', ...nobody() },
    { mode: 'unshare', uid: 0, gid: 0 },
  ]
  const complaints: string[] = []
  for (const account of candidates) {
    if (made !== undefined && made.mode !== account.mode) continue
    const complaint = handOver(options.folder, account) ?? complaintOf(account, options)
    if (complaint === undefined) return remember(options.folder, account)
    complaints.push(complaint)
  }
  if (made === undefined) handOver(options.folder, { uid: 0, gid: 0 })
  throw new HubError(
    'config',
    [
      made === undefined
        ? 'PostgreSQL refuses to run as root, and no way around that works here:'
        : `the database in ${options.folder} was made in the mode '${made.mode}', which does not work now:`,
      `${complaints.join('; ')}.`,
      'Set CAIRN_DATA to a folder that every account may enter (and keep cairn itself in such a folder), start cairn as an ordinary user,',
      'or set DATABASE_URL to a PostgreSQL of yours',
    ].join(' '),
  )
}

const accountFile = 'account'

/** Who made the data; undefined while there is none, because then the choice is free. */
function madeBy(folder: string): { readonly mode: AccountMode; readonly uid: number } | undefined {
  const data = statSync(join(folder, 'data'), { throwIfNoEntry: false })
  if (!data) return undefined
  const path = join(folder, accountFile)
  const word = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  const mode = (['self', 'nobody', 'unshare'] as const).find((known) => known === word)
  if (mode === undefined) throw new HubError('config', `${path} must say who runs the database: self, nobody or unshare`)
  return { mode, uid: data.uid }
}

function remember(folder: string, account: Account): Account {
  const path = join(folder, accountFile)
  if (!existsSync(path) || readFileSync(path, 'utf8').trim() !== account.mode) writeFileSync(path, `${account.mode}\n`)
  return account
}

function foreign(folder: string, made: { readonly mode: AccountMode; readonly uid: number }): HubError {
  const whose = made.mode === 'self' ? `the user with id ${made.uid}` : `root (mode '${made.mode}')`
  return new HubError('config', `the database in ${folder} was made by ${whose}: start cairn as that user, or set CAIRN_DATA to another folder`)
}

/** Makes the folder theirs. Comes back with why not; some containers take this right from root. */
function handOver(folder: string, { uid, gid }: { readonly uid: number; readonly gid: number }): string | undefined {
  try {
    chownSync(folder, uid, gid)
    return undefined
  } catch (error) {
    return `the folder ${folder} cannot be given to the account ${uid} (${(error as Error).message})`
  }
}

/** Why the account cannot do the work; undefined when it can. */
function complaintOf(account: Account, { folder, postgres, env }: ChooseAccountOptions): string | undefined {
  const run = (file: string, args: readonly string[]) => {
    const { file: command, args: words, ids } = invocation(account, file, args)
    return spawnSync(command, words, { ...ids, env, cwd: '/', encoding: 'utf8', timeout: 20_000 })
  }
  const namespace = account.mode === 'unshare' ? run('true', []) : undefined
  if (namespace && namespace.status !== 0)
    return `a user namespace is not to be had (${lastLine(namespace.stderr) || namespace.error?.message || 'unshare failed'})`
  const who = account.mode === 'nobody' ? 'the account nobody' : 'root in a user namespace'
  const version = run(postgres, ['--version'])
  if (version.status !== 0) return `${who} cannot run ${postgres}${closedNote(account, postgres)}${reason(version)}`
  const probe = join(folder, 'probe')
  const write = run('sh', ['-c', ': > "$1" && rm "$1"', 'sh', probe])
  if (write.status !== 0) return `${who} cannot write in ${folder}${closedNote(account, folder)}${reason(write)}`
  return undefined
}

const lastLine = (text: string | null): string => text?.trim().split('\n').at(-1) ?? ''
const reason = ({ stderr, error }: { readonly stderr: string | null; readonly error?: Error }): string => {
  const line = lastLine(stderr) || error?.message
  return line ? `: ${line}` : ''
}

function closedNote(account: Account, path: string): string {
  const closed = account.mode === 'nobody' ? closedFolder(path) : undefined
  return closed === undefined ? '' : `, because the folder ${closed} is closed to it`
}

/** The first folder on the way that others may not pass through. */
function closedFolder(path: string): string | undefined {
  const parents: string[] = []
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) parents.unshift(folder)
  return parents.find((folder) => ((statSync(folder, { throwIfNoEntry: false })?.mode ?? 1) & 1) === 0)
}

/** PostgreSQL asks for the name of its account, so this one must exist. */
function nobody(): { readonly uid: number; readonly gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((text) => text.startsWith('nobody:'))
  const [, , uid, gid] = line?.split(':') ?? []
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) }
}
