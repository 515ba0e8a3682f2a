import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { wireLimits } from './limits.js'
import { OidList } from './oid-list.js'
import type { Oid } from './types.js'

/** How much history a client asks for. `not` names refs, one character a byte, as the client wrote them. */
export type DeepenArguments =
  | { readonly kind: 'depth'; readonly depth: number; readonly relative: boolean }
  | { readonly kind: 'revisions'; readonly since: number | undefined; readonly not: readonly string[] }

export interface ShallowArguments {
  /** Commits the client says it has without their parents; distinct. The repository may know none of them. */
  readonly shallow: readonly Oid[]
  /** `undefined`: the boundary stays where it is. */
  readonly deepen: DeepenArguments | undefined
}

/** A depth that means all there is: what `git fetch --unshallow` asks for. */
export const unlimitedDepth = 0x7fffffff

/**
 * Takes in the lines of a fetch about shallow history, which are the same in all protocols.
 *
 * Spec: gitprotocol-v2(5), "fetch"; gitprotocol-pack(5), "Packfile Negotiation".
 */
export class ShallowLines {
  readonly #shallow = new OidList('shallow lines', wireLimits.shallows)
  readonly #not: string[] = []
  #depth: number | undefined
  #since: number | undefined

  /** False: the line is about something else. @throws ProtocolError `bad-request`, `too-large` */
  take(line: string): boolean {
    const space = line.indexOf(' ')
    const value = line.slice(space + 1)
    switch (line.slice(0, space)) {
      case 'shallow':
        this.#shallow.add(value)
        return true
      case 'deepen':
        this.#depth = positive(value, unlimitedDepth, 'depth')
        return true
      case 'deepen-since':
        this.#since = positive(value, Number.MAX_SAFE_INTEGER, 'time')
        return true
      case 'deepen-not':
        if (this.#not.length >= wireLimits.deepenNots) throw new ProtocolError('too-large', `more than ${wireLimits.deepenNots} refs to leave out`)
        this.#not.push(value)
        return true
      default:
        return false
    }
  }

  /** What all lines together ask for. @throws ProtocolError `bad-request` when they contradict each other */
  finish(relative: boolean): ShallowArguments {
    const shallow = this.#shallow.distinct()
    const byRevisions = this.#since !== undefined || this.#not.length > 0
    if (this.#depth !== undefined) {
      if (byRevisions) throw new ProtocolError('bad-request', 'deepen and deepen-since (or deepen-not) cannot be used together')
      return { shallow, deepen: { kind: 'depth', depth: this.#depth, relative } }
    }
    return { shallow, deepen: byRevisions ? { kind: 'revisions', since: this.#since, not: this.#not } : undefined }
  }
}

function positive(text: string, most: number, what: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) throw new ProtocolError('bad-request', `expected a ${what} to deepen to, got '${humanLine(text.slice(0, 80))}'`)
  return value
}
