/**
 * Told of an object that another one names: 20 raw bytes from `offset`, valid during the call only.
 * `expect` is a mask of the types it may have: 1 commit, 2 tree, 4 blob, 8 tag.
 */
export type Refer = (bytes: Uint8Array, offset: number, expect: number) => void

/** Told of a blob, by 20 raw bytes from `offset`, whose content git acts upon and which must be checked before a push is accepted. */
export type Special = (kind: 'gitmodules' | 'gitattributes', bytes: Uint8Array, offset: number) => void
