import { LfsError } from './errors.js'
import { fieldsOf, textField } from './json.js'
import type { LargeObject } from './ports.js'
import { isSize, parseLfsOid } from './types.js'

/**
 * What a client wants to be told has arrived.
 * Spec: git-lfs docs/api/basic-transfers.md, "Verification".
 * @throws LfsError `bad-body`, `bad-oid`, `bad-size`
 */
export function parseVerify(body: unknown): LargeObject {
  const fields = fieldsOf(body, 'an object')
  const { size } = fields
  const oid = parseLfsOid(textField(fields, 'oid'))
  if (!isSize(size)) throw new LfsError('bad-size', 'size must be a whole number of bytes')
  return { oid, size }
}
