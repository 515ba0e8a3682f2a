import { LfsError } from './errors.js'

export type Fields = Readonly<Record<string, unknown>>

/** The fields of a JSON object. @throws LfsError `bad-body` when it is none; `what` says what it should have been */
export function fieldsOf(body: unknown, what: string): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new LfsError('bad-body', `expected ${what} as a JSON object`)
  return body as Fields
}

/** @throws LfsError `bad-body` */
export function textField(fields: Fields, name: string): string {
  const value = fields[name]
  if (typeof value !== 'string') throw new LfsError('bad-body', `${name} must be a text`)
  return value
}

/** Undefined: it is not there, or null. @throws LfsError `bad-body` */
export function optionalText(fields: Fields, name: string): string | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  return textField(fields, name)
}
