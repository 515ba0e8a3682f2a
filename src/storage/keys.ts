import { HubError } from '../errors.js'
import type { BlobKey } from './blob-store.js'

/*
 * Every key's layout:
 *
 *   packs/aa/<sha256>.pack       a git pack
 *   side/aa/<sha256>.<kind>      what belongs to a pack, by its own hash
 *   lfs/aa/bb/<sha256>           a large object
 *   staging/<id>                 on its way in, known to one upload alone
 *   store-id                     which store this is, see server/store-claim
 *
 * aa and bb are the first bytes of the hash; hex is lower case.
 */

export const sidecarKinds = ['idx', 'rev', 'tbl', 'midx', 'bitmap', 'graph'] as const
export type SidecarKind = (typeof sidecarKinds)[number]

export function packKey(sha256: Uint8Array): BlobKey {
  const hex = hexOf(sha256)
  return `packs/${hex.slice(0, 2)}/${hex}.pack` as BlobKey
}

/** `sha256` is the sidecar's own, not its pack's. */
export function sidecarKey(sha256: Uint8Array, kind: SidecarKind): BlobKey {
  const hex = hexOf(sha256)
  return `side/${hex.slice(0, 2)}/${hex}.${kind}` as BlobKey
}

export function lfsKey(sha256: Uint8Array): BlobKey {
  const hex = hexOf(sha256)
  return `lfs/${hex.slice(0, 2)}/${hex.slice(2, 4)}/${hex}` as BlobKey
}

/** @param id lower-case letters, digits and dashes, such as a UUID; 64 at most */
export const stagingKey = (id: string): BlobKey => parseBlobKey(`staging/${id}`)

export const storeIdKey = 'store-id' as BlobKey

const layouts = [
  /^packs\/([0-9a-f]{2})\/\1[0-9a-f]{62}\.pack$/,
  new RegExp(`^side/([0-9a-f]{2})/\\1[0-9a-f]{62}\\.(?:${sidecarKinds.join('|')})$`),
  /^lfs\/([0-9a-f]{2})\/([0-9a-f]{2})\/\1\2[0-9a-f]{60}$/,
  /^staging\/[a-z0-9][a-z0-9-]{0,63}$/,
  /^store-id$/,
]

export const isBlobKey = (text: string): text is BlobKey => layouts.some((layout) => layout.test(text))

/** The SHA-256 of what is stored under the key, hex. Undefined: the key does not tell. */
export const contentHashOf = (key: BlobKey): string | undefined => /^(?:packs|side|lfs)\/.*([0-9a-f]{64})/.exec(key)?.[1]

/** @throws HubError `invalid` for anything that is of none of the layouts */
export function parseBlobKey(text: string): BlobKey {
  if (!isBlobKey(text)) throw new HubError('invalid', `not a key of the store: ${JSON.stringify(text.slice(0, 100))}`)
  return text
}

/** The SHA-256 that a pack, a sidecar or a large object is named by, in hex; undefined: its key says nothing of its bytes. */
export function sha256OfKey(key: BlobKey): string | undefined {
  return /^(?:packs|side|lfs)\/.*\/([0-9a-f]{64})(?:\.|$)/.exec(key)?.[1]
}

function hexOf(sha256: Uint8Array): string {
  if (sha256.length !== 32) throw new HubError('invalid', `a SHA-256 has 32 bytes, not ${sha256.length}`)
  return Buffer.from(sha256.buffer, sha256.byteOffset, sha256.length).toString('hex')
}
