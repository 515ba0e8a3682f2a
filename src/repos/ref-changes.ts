import type { CommandResult, Oid, PushCommand, Ref, RefName } from '../../protocol/types.js'
import { zeroOid } from '../../protocol/types.js'

/** A push command with what its new value peels to. */
export interface UpdateCommand extends PushCommand {
  readonly peeled?: Oid | undefined
}

/** What a set of commands comes to, given the refs as they stand under the repository's lock. */
export interface RefChanges {
  readonly deletes: readonly Ref[]
  readonly moves: readonly { readonly command: UpdateCommand; readonly old: Ref }[]
  readonly creates: readonly UpdateCommand[]
  /** One a command, in their order. */
  readonly results: readonly CommandResult[]
}

const refused = (name: RefName, reason: string): CommandResult => ({ name, kind: 'refused', reason })

/** Every proper prefix of a ref name that ends before a slash: `refs/heads/a/b` → `refs/heads/a`, `refs/heads`, `refs`. */
export function parentNames(name: RefName): RefName[] {
  const parents: RefName[] = []
  for (let at = name.lastIndexOf('/'); at > 0; at = name.lastIndexOf('/', at - 1)) parents.push(name.slice(0, at) as RefName)
  return parents
}

/**
 * Decides each command by compare-and-swap and by directory/file conflicts, deletes before creates.
 *
 * @param current the refs of all names in `commands` and of all their parents, as far as they exist
 * @param withRefsBelow those created names below which a ref stands that no command deletes
 * @param head the branch HEAD points at: it cannot be deleted
 */
export function decideRefChanges(
  commands: readonly UpdateCommand[],
  current: ReadonlyMap<RefName, Ref>,
  withRefsBelow: ReadonlySet<RefName>,
  head: RefName,
  atomic: boolean,
): RefChanges {
  const refusals = new Map<RefName, string>()
  const deletes: Ref[] = []
  const moves: { command: UpdateCommand; old: Ref }[] = []
  let creates: UpdateCommand[] = []
  for (const command of commands) {
    const old = current.get(command.name)
    if (command.newOid === zeroOid) {
      if (!old) continue // deleting what is not there is what the client wanted
      if (command.oldOid !== zeroOid && command.oldOid !== old.oid) refusals.set(command.name, 'incorrect old value provided')
      else if (command.name === head) refusals.set(command.name, 'deletion of the current branch prohibited')
      else deletes.push(old)
    } else if (command.oldOid === zeroOid) {
      if (old && old.oid !== command.newOid) refusals.set(command.name, 'reference already exists')
      else if (!old) creates.push(command)
    } else if (!old || old.oid !== command.oldOid) {
      refusals.set(command.name, 'incorrect old value provided')
    } else if (old.oid !== command.newOid) {
      moves.push({ command, old })
    }
  }

  const gone = new Set(deletes.map((ref) => ref.name))
  const made = new Set<RefName>()
  creates = creates
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .filter((command) => {
      const blocker = parentNames(command.name).find((parent) => made.has(parent) || (current.has(parent) && !gone.has(parent)))
      if (blocker !== undefined) refusals.set(command.name, `'${readable(blocker)}' exists; cannot create '${readable(command.name)}'`)
      else if (withRefsBelow.has(command.name)) refusals.set(command.name, `refs below '${readable(command.name)}/' exist; cannot create it`)
      else made.add(command.name)
      return made.has(command.name)
    })

  if (atomic && refusals.size > 0) {
    const results = commands.map(({ name }) => refused(name, refusals.get(name) ?? 'atomic push failure'))
    return { deletes: [], moves: [], creates: [], results }
  }
  const results = commands.map(({ name }): CommandResult => {
    const reason = refusals.get(name)
    return reason === undefined ? { name, kind: 'ok' } : refused(name, reason)
  })
  return { deletes, moves, creates, results }
}

const readable = (name: RefName): string => Buffer.from(name, 'latin1').toString('utf8')

/**
 * Where HEAD of a repository without it should point after `creates`: main, master, else the first branch in the request.
 * Undefined: HEAD stays.
 */
export function chooseHead(
  head: RefName,
  headExists: boolean,
  creates: readonly UpdateCommand[],
  order: readonly PushCommand[],
): RefName | undefined {
  if (headExists || creates.some(({ name }) => name === head)) return undefined
  const made = new Set(creates.map(({ name }) => name))
  for (const name of ['refs/heads/main', 'refs/heads/master'] as RefName[]) if (made.has(name)) return name
  return order.find(({ name }) => name.startsWith('refs/heads/') && made.has(name))?.name
}

/** The visibility class that a command's objects get: 0 heads and tags, 1 other visible refs, 2 hidden refs. */
export function visibilityClass(name: RefName): 0 | 1 | 2 {
  if (name.startsWith('refs/heads/') || name.startsWith('refs/tags/')) return 0
  return name.startsWith('refs/internal/') ? 2 : 1
}

/**
 * Whether a copy of a repository gets a ref: branches, tags, and what was converted of them. Not what somebody proposes (`refs/pr`), nor anything
 * that is hidden.
 */
export const isCopied = (name: RefName): boolean => /^refs\/(heads|tags|convert)\//.test(name)
