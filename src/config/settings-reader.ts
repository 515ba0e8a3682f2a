import { AddressComplaint, parseDatabaseUrl, type DatabaseAddress } from './database-url.js'
import type { SettingName } from './settings-table.js'

const units: Readonly<Record<string, number>> = { '': 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }

/** Reads values out of an environment, and remembers what is wrong with them instead of stopping at the first. */
export class SettingsReader {
  readonly complaints: { readonly name: string; readonly says: string }[] = []
  readonly #env: Readonly<Record<string, string | undefined>>

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env
  }

  complain(name: string, says: string): undefined {
    this.complaints.push({ name, says })
    return undefined
  }

  /** Undefined: not given, or empty. */
  text(name: SettingName): string | undefined {
    const value = this.#env[name]?.trim()
    return value === '' ? undefined : value
  }

  /** Never repeats the value: it may be a secret. */
  matching(name: SettingName, pattern: RegExp, complaint: string): string | undefined {
    const value = this.text(name)
    if (value === undefined || pattern.test(value)) return value
    return this.complain(name, complaint)
  }

  integer(name: SettingName, { from, to }: { readonly from: number; readonly to: number }): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
    return number >= from && number <= to ? number : this.complain(name, `must be a whole number from ${from} to ${to}`)
  }

  /** `1048576`, `1MiB`, `1.5 GiB`. */
  bytes(name: SettingName, least = 1): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?) ?([KMGT]iB|B|)$/.exec(value) ?? []
    const bytes = Math.floor(Number(digits === '' ? Number.NaN : digits) * units[unit]!)
    if (!Number.isSafeInteger(bytes)) return this.complain(name, 'must be a size such as 1048576, 512MiB or 8GiB')
    return bytes >= least ? bytes : this.complain(name, `must be at least ${least} bytes`)
  }

  list(name: SettingName): readonly string[] {
    return (this.text(name) ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
  }

  /** Never repeats the value: there may be a password in it. */
  url(name: SettingName, protocols: readonly string[]): string | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (!protocols.some((protocol) => value.startsWith(`${protocol}//`))) {
      return this.complain(name, `must be an address that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
    }
    const url = URL.canParse(value) ? new URL(value) : undefined
    if (!url) return this.complain(name, 'is no address')
    if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
      return this.complain(name, 'must have neither credentials nor a query')
    }
    return value
  }

  /** Never repeats a user name or a password. */
  database(name: SettingName): DatabaseAddress | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (!/^postgres(ql)?:\/\//.test(value)) return this.complain(name, 'must be an address that begins with postgresql:// or postgres://')
    try {
      return parseDatabaseUrl(value)
    } catch (error) {
      if (!(error instanceof AddressComplaint)) throw error
      return this.complain(name, error.message)
    }
  }
}
