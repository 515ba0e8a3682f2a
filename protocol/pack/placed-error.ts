import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import { objectTypeNames, type ObjectType } from '../types.js'
import type { PackColumns } from './pack-columns.js'

/** Says which of the `stated` objects of a pack an error is about: by its name where the object is at fault, else by its place. */
export function placedError(error: unknown, { types, oids }: PackColumns, rank: number, stated: number): unknown {
  if (!(error instanceof ProtocolError)) return error
  const type = objectTypeNames[(types[rank]! & 7) as ObjectType]
  const name = error.code === 'bad-object' ? `${type} ${oidFromBytes(oids, rank * 20)}` : `object ${rank + 1} of ${stated}`
  return new ProtocolError(error.code, `${name}: ${error.message}`, { cause: error })
}
