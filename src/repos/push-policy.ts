import { oidBytes } from '../../protocol/oid.js'
import type { PackView } from '../../protocol/ports.js'
import { parseTag } from '../../protocol/objects/tag.js'
import { createObjectReader, type ObjectReader } from '../../protocol/pack/reader.js'
import { objectTypes, objectTypeNames, zeroOid, type Oid, type PushCommand, type RefName } from '../../protocol/types.js'
import type { UpdateCommand } from './ref-changes.js'

export interface PolicyInput {
  /** Pack and repository together. */
  readonly view: PackView
  /** Why no new object is taken; undefined: they are. */
  readonly refusal: string | undefined
  readonly commands: readonly PushCommand[]
  /** Refs the repository may have in all. */
  readonly maxRefs: number
}

export interface PolicyVerdict {
  /** Commands that may go on, with what their new values peel to. */
  readonly accepted: readonly UpdateCommand[]
  readonly refused: ReadonlyMap<RefName, string>
}

/**
 * What a repository accepts once its pack is known to be sound. Nothing has been stored yet.
 * Branches name commits; refs do not grow without end.
 */
export async function applyPushPolicy({ view, refusal, commands, maxRefs }: PolicyInput): Promise<PolicyVerdict> {
  const accepted: UpdateCommand[] = []
  const refused = new Map<RefName, string>()
  const reader = createObjectReader(view)
  let refs = view.refs.count
  for (const command of commands) {
    const reason = await judge(command)
    if (reason === undefined) continue
    refused.set(command.name, reason)
  }
  return { accepted, refused }

  async function judge(command: PushCommand): Promise<string | undefined> {
    if (command.newOid === zeroOid) {
      accepted.push(command)
      refs--
      return undefined
    }
    if (refusal !== undefined) return refusal
    if (!view.refs.find(command.name) && ++refs > maxRefs) return `the repository would have more than ${maxRefs} refs`
    const entry = view.find(oidBytes(command.newOid), 'credit')
    if (entry === -1) return 'missing necessary objects'
    const type = view.typeOf(entry)
    if (command.name.startsWith('refs/heads/') && type !== objectTypes.commit) {
      return `a branch must name a commit, not a ${objectTypeNames[type]}`
    }
    const peeled = type === objectTypes.tag ? await peel(reader, command.newOid) : undefined
    if (peeled === null) return `tags are nested deeper than ${maxTagChain}`
    accepted.push(peeled === undefined ? command : { ...command, peeled })
    return undefined
  }
}

const maxTagChain = 100

/** The object at the end of a chain of tags; null when it has no end in sight. */
async function peel(reader: ObjectReader, tag: Oid): Promise<Oid | null> {
  let oid = tag
  for (let step = 0; step < maxTagChain; step++) {
    const object = await reader.readOid(oid, 'credit')
    if (object?.type !== objectTypes.tag) return oid
    oid = parseTag(object.data).object
  }
  return null
}
