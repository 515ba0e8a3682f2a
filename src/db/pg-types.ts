import pg from 'pg'

const int8Oid = 20
const int8ArrayOid = 1016
/** bigint comes back as number. */
export const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: string) => {
    if (oid === int8Oid && format !== 'binary') return parseInt8
    if (oid === int8ArrayOid && format !== 'binary') return parseInt8Array
    return pg.types.getTypeParser(oid, format as 'text')
  },
}

function parseInt8(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is over 2^53`)
  return value
}

const parseTextArray = pg.types.getTypeParser(int8ArrayOid as number as 20) as (text: string) => readonly (string | null)[]

function parseInt8Array(text: string): (number | null)[] {
  return parseTextArray(text).map((item) => (item === null ? null : parseInt8(item)))
}
