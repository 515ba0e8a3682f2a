import { ProtocolError } from '../errors.js'
import { quoteBytes } from './quote.js'

/** Who did something, and when. */
export interface Ident {
  readonly name: string
  readonly email: string
  /** Since 1970. */
  readonly seconds: number
  /** `+hhmm` or `-hhmm`. */
  readonly timezone: string
}

/** The last second a `Date` can hold. Git takes later ones; no clock shows them, and whoever formats one fails. */
export const maxSeconds = 8_640_000_000_000

const zero = 0x30
const open = 0x3c
const close = 0x3e
const space = 0x20
const newline = 0x0a

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= zero && byte <= 0x39

/**
 * Checks `name <email> seconds zone` from `at` to its newline, and answers where the next line begins. Passes what old tools wrote: no
 * address, no space before it, no space before the date, a broken zone.
 * @throws ProtocolError `bad-object`
 */
export function checkIdent(data: Uint8Array, at: number, what: string): number {
  let end = at
  while (end < data.length && data[end] !== newline) end += 1
  const bad = (problem: string): ProtocolError => new ProtocolError('bad-object', `${what} line ${problem}: ${quoteBytes(data, at, end)}`)

  let i = skipText(data, at, end)
  if (data[i] === close) throw bad('has a bad name')
  if (i < end) {
    i = skipText(data, i + 1, end)
    if (i >= end || data[i] !== close) throw bad('has a bad email')
    i += 1
    if (i < end) checkDate(data, i, end, bad)
  }
  return end + 1
}

/** The first `<`, `>` or the end. */
function skipText(data: Uint8Array, at: number, end: number): number {
  while (at < end && data[at] !== open && data[at] !== close) at += 1
  return at
}

/** What follows the address. Without a space before it, it may be anything but a date out of range. */
function checkDate(data: Uint8Array, at: number, end: number, bad: (problem: string) => ProtocolError): void {
  const spaced = data[at] === space
  let start = at
  while (data[start] === space) start += 1 // some wrote two
  let i = start
  let seconds = 0
  for (; i < end && isDigit(data[i]); i++) {
    seconds = seconds * 10 + data[i]! - zero
    if (seconds > maxSeconds) throw bad(`has a date over ${maxSeconds}`)
  }
  if (!spaced) return
  if (i === start || data[i] !== space) throw bad('has a bad date')
  if (data[start] === zero && i > start + 1) throw bad('has a date that begins with a zero')
}

/** Reads the line leniently: what is missing is empty, zero or `+0000`; lines that continue it do not count. `value` is decoded already. */
export function parseIdent(value: string): Ident {
  const text = value.split('\n', 1)[0]!
  const opened = text.indexOf('<')
  const name = (opened === -1 ? text : text.slice(0, opened)).trim()
  const rest = opened === -1 ? '' : text.slice(opened + 1)
  const email = rest.slice(0, Math.max(rest.indexOf('>'), 0))
  const date = rest.slice(rest.lastIndexOf('>') + 1)
  const [, digits = '0', timezone = '+0000'] = /^ *(\d+)(?: ([+-]\d{4})(?!\d))?/.exec(date) ?? []
  return { name, email, seconds: Math.min(Number(digits), maxSeconds), timezone }
}

/**
 * The line without its key.
 * @throws ProtocolError `bad-object` for what no line can hold
 */
export function encodeIdent({ name, email, seconds, timezone }: Ident): string {
  if (/[<>\n\0]/.test(name + email))
    throw new ProtocolError('bad-object', `neither ${JSON.stringify(name)} nor ${JSON.stringify(email)} may hold < > NUL or a newline`)
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > maxSeconds) throw new ProtocolError('bad-object', `${seconds} is not a date in seconds`)
  if (!/^[+-]\d{4}$/.test(timezone)) throw new ProtocolError('bad-object', `${JSON.stringify(timezone)} is not a time zone`)
  return `${name} <${email}> ${seconds} ${timezone}`
}
