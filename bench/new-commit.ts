import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { encodeCommit } from '../protocol/objects/commit.js'
import { hashObject } from '../protocol/objects/hash.js'
import { encodeTree } from '../protocol/objects/tree.js'
import { oidFromBytes } from '../protocol/oid.js'
import { objectTypes, type ObjectType, type Oid } from '../protocol/types.js'
import { streamPack, type PackObject } from '../src/repos/pack-stream.js'
import { plainCapabilities, pushHead } from '../test/support/hostile.js'

export const zero = '0'.repeat(40)
const author = { name: 'A U Thor', email: 'author@example.com', seconds: 1_700_000_000, timezone: '+0000' }

/** A commit of one new file on `parent`, and the body of the push that moves `ref` to it. Without a process of git, since there may be 100,000. */
export async function newCommit(ref: string, old: string | undefined, parent = old): Promise<{ readonly oid: Oid; readonly body: Buffer }> {
  const objects: PackObject[] = []
  const add = (type: ObjectType, data: Uint8Array): Oid => {
    objects.push({ type, data: () => data })
    return oidFromBytes(hashObject(type, data))
  }
  const blob = add(objectTypes.blob, Buffer.from(randomBytes(600).toString('base64')))
  const tree = add(objectTypes.tree, encodeTree([{ mode: '100644', name: 'config.json', oid: blob }]))
  const parents = parent === undefined ? [] : [parent as Oid]
  const oid = add(objectTypes.commit, encodeCommit({ tree, parents, author, committer: author, message: 'a change\n' }))
  const pack = await buffer(streamPack(objects.toReversed()))
  return { oid, body: Buffer.concat([pushHead([[old ?? zero, oid, ref]], plainCapabilities), pack]) }
}
