import { objectTypes, type ObjectType } from '../types.js'
import { checkCommit } from './check-commit.js'
import { checkTag } from './check-tag.js'
import { checkTree } from './check-tree.js'
import type { Refer, Special } from './references.js'

export type { Refer, Special } from './references.js'
export { checkGitattributes } from './gitattributes.js'
export { checkGitmodules } from './gitmodules.js'

/**
 * Judges an object as `git fsck --strict` does when it is pushed, and tells `refer` of every object it names (submodule commits apart)
 * and `special` of every blob in the place of a `.gitmodules` or `.gitattributes`, however disguised.
 *
 * What may hurt whoever checks it out, or has two readings, is refused. What old public histories are known to hold passes: zero-padded
 * and group-writable modes, a broken time zone, no space before the date or the address, no address at all, no tagger.
 * @throws ProtocolError `bad-object`; `refer` may have been called before
 */
export function checkObject(type: ObjectType, data: Uint8Array, refer: Refer, special: Special): void {
  if (type === objectTypes.tree) checkTree(data, refer, special)
  else if (type === objectTypes.commit) checkCommit(data, refer)
  else if (type === objectTypes.tag) checkTag(data, refer)
}
