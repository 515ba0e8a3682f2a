import { checkObjectFormat, parseCapabilities } from './capabilities.js'
import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { wireLimits } from './limits.js'
import { isOid, parseOid } from './oid.js'
import { pktText, type PktReader } from './pkt-line.js'
import { checkRefName, isReservedRef } from './ref-name.js'
import { zeroOid, type CommandResult, type PushCommand, type RefName } from './types.js'

export interface PushRequest {
  /** As sent, one a ref or more: `refuseCommands` says which may stand. */
  readonly commands: readonly PushCommand[]
  readonly reportStatus: boolean
  readonly sideBand: boolean
  readonly atomic: boolean
  readonly quiet: boolean
  readonly pushOptions: readonly string[]
  /** The pusher's own history is cut somewhere. */
  readonly fromShallow: boolean
  /** Why none of it can be done although it was understood: over a limit. */
  readonly problem: string | undefined
}

/** A push that cannot be read to its end. Says how the client listens, as far as it got to tell. */
export class BadPush extends Error {
  readonly sideBand: boolean
  constructor(message: string, sideBand: boolean, options?: ErrorOptions) {
    super(message, options)
    this.name = 'BadPush'
    this.sideBand = sideBand
  }
}

/**
 * Reads everything of a push that stands before the pack: commands, shallow lines, push options. `undefined`: a flush alone.
 *
 * Spec: gitprotocol-pack(5), "Reference Update Request and Packfile Transfer".
 * @throws ProtocolError `bad-request` for broken framing and early ends · BadPush for anything the client can be told
 */
export async function readPush(reader: PktReader): Promise<PushRequest | undefined> {
  const draft = new Draft()
  try {
    if (!(await readCommands(reader, draft))) return undefined
    if (draft.capabilities.has('push-options')) await readPushOptions(reader, draft)
  } catch (error) {
    if (!(error instanceof ProtocolError) || (reader.broken && error.code !== 'too-large') || reader.ended) throw error
    throw new BadPush(error.message, draft.capabilities.has('side-band-64k'), { cause: error })
  }
  const { capabilities, commands, pushOptions, fromShallow, problem } = draft
  return {
    commands,
    reportStatus: capabilities.has('report-status') || capabilities.has('report-status-v2'),
    sideBand: capabilities.has('side-band-64k'),
    atomic: capabilities.has('atomic'),
    quiet: capabilities.has('quiet'),
    pushOptions,
    fromShallow,
    problem,
  }
}

class Draft {
  capabilities: ReadonlyMap<string, string> = new Map()
  readonly commands: PushCommand[] = []
  readonly pushOptions: string[] = []
  fromShallow = false
  problem: string | undefined
}

/** False: there was only a flush. */
async function readCommands(reader: PktReader, draft: Draft): Promise<boolean> {
  for (let first = true; ; first = false) {
    const pkt = await reader.next()
    if (pkt === undefined) throw new ProtocolError('bad-request', first ? 'the request is empty' : 'the request ends before its flush')
    if (pkt.kind === 'flush') return !first
    if (pkt.kind !== 'data') throw new ProtocolError('bad-request', 'expected old oid, new oid and ref name')
    const { payload } = pkt
    const nul = payload.indexOf(0)
    if (nul !== -1 && draft.commands.length === 0 && draft.capabilities.size === 0) {
      draft.capabilities = parseCapabilities(payload.toString('latin1', nul + 1))
      checkObjectFormat(draft.capabilities.get('object-format'))
    }
    const line = nul === -1 ? pktText(payload) : payload.toString('latin1', 0, nul)
    // A pusher with a shallow clone names its edges. Whether its commits connect to what is here is for the connectivity check to say.
    if (line.startsWith('shallow ')) {
      parseOid(line.slice(8))
      draft.fromShallow = true
    } else if (line.startsWith('push-cert')) throw new ProtocolError('unsupported', 'signed pushes are not supported')
    else if (draft.commands.length < wireLimits.pushCommands) draft.commands.push(parseCommand(line))
    else draft.problem = `more than ${wireLimits.pushCommands} refs in one push`
  }
}

function parseCommand(line: string): PushCommand {
  const oldOid = line.slice(0, 40).toLowerCase()
  const newOid = line.slice(41, 81).toLowerCase()
  if (!isOid(oldOid) || line[40] !== ' ' || !isOid(newOid) || line[81] !== ' ' || line.length < 83) {
    throw new ProtocolError('bad-request', `expected old oid, new oid and ref name, got '${humanLine(line.slice(0, 200))}'`)
  }
  return { oldOid, newOid, name: line.slice(82) as RefName }
}

async function readPushOptions(reader: PktReader, draft: Draft): Promise<void> {
  for (;;) {
    const pkt = await reader.next()
    if (pkt?.kind === 'flush') return
    if (pkt?.kind !== 'data') throw new ProtocolError('bad-request', 'the push options end before their flush')
    const option = Buffer.from(pktText(pkt.payload), 'latin1').toString('utf8')
    if (pkt.payload.length > wireLimits.pushOptionBytes) draft.problem = `a push option is over ${wireLimits.pushOptionBytes} bytes`
    else if (pkt.payload.includes(0))
      draft.problem = 'a push option has a NUL byte' // no text to a database, nor to git
    else if (draft.pushOptions.length < wireLimits.pushOptions) draft.pushOptions.push(option)
    else draft.problem = `more than ${wireLimits.pushOptions} push options`
  }
}

export const isDelete = (command: PushCommand): boolean => command.newOid === zeroOid

/**
 * What can be refused by looking at the commands alone: by index, the reason. The rest is for policy and the transaction to judge.
 * An atomic push with one such command has none left.
 */
export function refuseCommands(commands: readonly PushCommand[], atomic: boolean): ReadonlyMap<number, string> {
  const refused = new Map<number, string>()
  const times = new Map<RefName, number>()
  for (const { name } of commands) times.set(name, (times.get(name) ?? 0) + 1)
  for (const [i, command] of commands.entries()) {
    const reason = refusal(command, times.get(command.name)!)
    if (reason !== undefined) refused.set(i, reason)
  }
  if (atomic && refused.size > 0) for (const i of commands.keys()) if (!refused.has(i)) refused.set(i, 'atomic push failure')
  return refused
}

function refusal(command: PushCommand, times: number): string | undefined {
  const badName = checkRefName(command.name, isDelete(command) ? 'delete' : 'update')
  if (badName !== undefined) return badName
  if (isReservedRef(command.name)) return 'deny updating a hidden ref'
  return times > 1 ? 'multiple updates for this ref are not allowed' : undefined
}

/** Results in the order of the commands: what was refused at sight, and what became of the others. */
export function mergeResults(
  commands: readonly PushCommand[],
  refused: ReadonlyMap<number, string>,
  results: readonly CommandResult[],
): readonly CommandResult[] {
  const others = results.values()
  return commands.map(({ name }, i) => {
    const reason = refused.get(i)
    if (reason !== undefined) return { name, kind: 'refused', reason }
    // A port that forgets a command must not pass for one that did it.
    return others.next().value ?? { name, kind: 'refused', reason: 'no result' }
  })
}
