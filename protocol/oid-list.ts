import { ProtocolError } from './errors.js'
import { parseOid } from './oid.js'
import type { Oid } from './types.js'

/** Oids of one request, as many as it may name. */
export class OidList {
  readonly list: Oid[] = []
  readonly #name: string
  readonly #limit: number

  /** `name` is what they are called when there are too many. */
  constructor(name: string, limit: number) {
    this.#name = name
    this.#limit = limit
  }

  /** @throws ProtocolError `bad-request`, `too-large` */
  add(text: string): void {
    if (this.list.length >= this.#limit) throw new ProtocolError('too-large', `more than ${this.#limit} ${this.#name} in one request`)
    this.list.push(parseOid(text))
  }

  distinct(): readonly Oid[] {
    return [...new Set(this.list)]
  }
}
