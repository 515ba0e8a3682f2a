import { createHash } from 'node:crypto'
import { objectTypeNames, type ObjectType } from '../types.js'

/** The name of an object, 20 bytes: SHA-1 over type, size and content. */
export function hashObject(type: ObjectType, data: Uint8Array): Buffer {
  return createHash('sha1').update(`${objectTypeNames[type]} ${data.length}\0`).update(data).digest()
}
