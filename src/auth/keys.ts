import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { insertKey, listAllKeys, listKeys, lockKeyPurpose, retireKeys, setSealedKey } from '../db/keys.js'
import type { Database, Queryable, Transaction } from '../db/pool.js'
import { HubError } from '../errors.js'

/** What a key signs. A key of one purpose proves nothing for another. */
export type KeyPurpose = 'lfs-link' | 'bundle-link' | 'xet-link' | 'session' | 'csrf' | 'ci-token'

/** Signs and verifies what the hub gives out. All replicas share the keys. */
export interface KeyRing {
  /** `<kid>.<HMAC-SHA256 in base64url>` of a text. */
  sign(purpose: KeyPurpose, text: string): Promise<string>
  /** False for anything that no key of that purpose signed, or whose key has expired. */
  verify(purpose: KeyPurpose, text: string, signature: string): Promise<boolean>
  /** A new key signs from now on; what older ones signed stays good for `verifySeconds`. Returns its kid. */
  rotate(purpose: KeyPurpose, verifySeconds: number): Promise<string>
}

interface OpenKey {
  readonly kid: string
  readonly secret: Buffer
  readonly retired: boolean
}

export interface KeyRingOptions {
  readonly db: Database
  /** `CAIRN_SECRET_KEY`. Without it the rows are noise. */
  readonly secretKey: string
  /** How long another replica's rotation may go unseen. */
  readonly refreshMs?: number
}

const sealVersion = 1
const nonceBytes = 12
const tagBytes = 16

/**
 * Sealed: version 1, nonce 12 bytes, GCM tag 16 bytes, ciphertext. The row's kid and purpose are authenticated with it,
 * so that a row cannot be passed off as another.
 */
function seal(sealingKey: Uint8Array, secret: Uint8Array, label: string): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce).setAAD(Buffer.from(label))
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()])
  return Buffer.concat([Buffer.from([sealVersion]), nonce, cipher.getAuthTag(), ciphertext])
}

function open(sealingKey: Uint8Array, sealed: Uint8Array, label: string): Buffer {
  if (sealed[0] !== sealVersion) throw new HubError('corrupt', `key ${label} is sealed in version ${sealed[0]}`)
  const nonce = sealed.subarray(1, 1 + nonceBytes)
  const tag = sealed.subarray(1 + nonceBytes, 1 + nonceBytes + tagBytes)
  try {
    const decipher = createDecipheriv('aes-256-gcm', sealingKey, nonce).setAAD(Buffer.from(label)).setAuthTag(tag)
    return Buffer.concat([decipher.update(sealed.subarray(1 + nonceBytes + tagBytes)), decipher.final()])
  } catch (cause) {
    throw new HubError('corrupt', `key ${label} does not open: was CAIRN_SECRET_KEY changed?`, { cause })
  }
}

const sealingKeyOf = (secretKey: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secretKey, 'cairn', 'sealing of signing keys, version 1', 32))

const labelOf = (purpose: string, kid: string): string => `${purpose}:${kid}`

export function createKeyRing({ db, secretKey, refreshMs = 60_000 }: KeyRingOptions): KeyRing {
  const sealingKey = sealingKeyOf(secretKey)
  const known = new Map<KeyPurpose, { readonly at: number; readonly keys: readonly OpenKey[] }>()

  async function load(purpose: KeyPurpose): Promise<readonly OpenKey[]> {
    const rows = await listKeys(db, purpose)
    const keys = rows.map(({ kid, sealed, retired }) => ({ kid, retired, secret: open(sealingKey, sealed, labelOf(purpose, kid)) }))
    known.set(purpose, { at: performance.now(), keys })
    return keys
  }

  async function current(purpose: KeyPurpose): Promise<readonly OpenKey[]> {
    const cached = known.get(purpose)
    return cached && performance.now() - cached.at < refreshMs ? cached.keys : load(purpose)
  }

  /** A key that signs; `replace` makes a new one even if there is one. */
  async function make(purpose: KeyPurpose, replace: { readonly verifySeconds: number } | undefined): Promise<string> {
    const kid = await db.transaction(async (tx) => {
      await lockKeyPurpose(tx, purpose)
      const signing = (await listKeys(tx, purpose)).find(({ retired }) => !retired)
      if (signing && !replace) return signing.kid
      const fresh = randomBytes(9).toString('base64url')
      await insertKey(tx, { kid: fresh, purpose, sealed: seal(sealingKey, randomBytes(32), labelOf(purpose, fresh)) })
      if (replace) await retireKeys(tx, purpose, fresh, replace.verifySeconds)
      return fresh
    })
    await load(purpose)
    return kid
  }

  const mac = (key: OpenKey, purpose: KeyPurpose, text: string): Buffer =>
    createHmac('sha256', key.secret).update(purpose).update('\0').update(text).digest()

  return {
    async sign(purpose, text) {
      let key = (await current(purpose)).find(({ retired }) => !retired)
      if (!key) {
        await make(purpose, undefined)
        key = (await current(purpose)).find(({ retired }) => !retired)!
      }
      return `${key.kid}.${mac(key, purpose, text).toString('base64url')}`
    },

    async verify(purpose, text, signature) {
      const [kid, given, more] = signature.split('.')
      if (kid === undefined || given === undefined || more !== undefined) return false
      const byKid = (key: OpenKey) => key.kid === kid
      // Another replica may have rotated a moment ago; but strangers' kids must not become a query each.
      const cached = known.get(purpose)
      const key =
        (await current(purpose)).find(byKid) ?? (cached && performance.now() - cached.at > 1000 ? (await load(purpose)).find(byKid) : undefined)
      if (!key) return false
      const expected = mac(key, purpose, text)
      const sent = Buffer.from(given, 'base64url')
      return sent.length === expected.length && timingSafeEqual(sent, expected)
    },

    rotate: (purpose, verifySeconds) => make(purpose, { verifySeconds }),
  }
}

/** Opens every key there is. @throws HubError `corrupt` when one is sealed with another secret */
export async function checkSealedKeys(db: Queryable, secretKey: string): Promise<void> {
  const sealingKey = sealingKeyOf(secretKey)
  for (const { kid, purpose, sealed } of await listAllKeys(db)) open(sealingKey, sealed, labelOf(purpose, kid))
}

/** The same keys, sealed with another secret: what they signed stays good. @throws HubError `corrupt` */
export async function resealKeys(tx: Transaction, from: string, to: string): Promise<void> {
  if (from === to) return
  const [old, fresh] = [sealingKeyOf(from), sealingKeyOf(to)]
  for (const { kid, purpose, sealed } of await listAllKeys(tx)) {
    const label = labelOf(purpose, kid)
    await setSealedKey(tx, kid, seal(fresh, open(old, sealed, label), label))
  }
}
