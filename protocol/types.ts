/** An object id: 40 lower-case hex digits. Made only by `parseOid` and `oidFromBytes`. */
export type Oid = string & { readonly __brand: 'Oid' }

/**
 * A full ref name such as `refs/heads/main`, **one character a byte** (latin1), because git promises no encoding.
 * So plain string comparison sorts as git does, and `Buffer.from(name, 'latin1')` is the wire form.
 * For people use `refText`. Made only by `parseRefName` (checked) and `refNameFromBytes` (as received).
 */
export type RefName = string & { readonly __brand: 'RefName' }

/** The four kinds of git object, by the numbers they have in a pack. */
export const objectTypes = { commit: 1, tree: 2, blob: 3, tag: 4 } as const
export type ObjectType = (typeof objectTypes)[keyof typeof objectTypes]
export type ObjectTypeName = keyof typeof objectTypes
export const objectTypeNames: Readonly<Record<ObjectType, ObjectTypeName>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' }

export type GitService = 'git-upload-pack' | 'git-receive-pack'

/** One ref as it stands. `peeled` is there for annotated tags only: the object the tag finally names. */
export interface Ref {
  readonly name: RefName
  readonly oid: Oid
  readonly peeled?: Oid
}

/** One line of a push: `oldOid` all zeros creates, `newOid` all zeros deletes. */
export interface PushCommand {
  readonly name: RefName
  readonly oldOid: Oid
  readonly newOid: Oid
}

/** What became of a push command: `reason` is what git prints behind `! [remote rejected]`. */
export type CommandResult =
  | { readonly name: RefName; readonly kind: 'ok' }
  | { readonly name: RefName; readonly kind: 'refused'; readonly reason: string }

export const zeroOid = '0'.repeat(40) as Oid
