import { pktLengthAt, textPkt } from './pkt-line.js'
import type { Oid, Ref, RefName } from './types.js'

/** Where things stand in a line: four digits of length, 40 of oid, a blank, the name. */
const oidAt = 4
const nameAt = 45
/** ` peeled:` and an oid, behind the name. */
const peeledBytes = 48

/**
 * A stretch of a repository's refs, one or more, in order, kept as the lines that `ls-refs` answers with to who asks for `peel`: so a long
 * list is sent without being made anew. Objects are made of it when somebody asks for them.
 *
 * Spec: gitprotocol-v2(5), "ls-refs".
 */
export class RefBlock {
  /** Whole pkt-lines, never written to again, in memory of their own that all threads can read. */
  readonly lines: Buffer<SharedArrayBuffer>
  readonly count: number
  readonly first: RefName
  readonly last: RefName
  readonly #hasPeeled: boolean
  #refs: readonly Ref[] | undefined

  /** The lines of a block that another thread has made. */
  constructor(shared: SharedArrayBuffer) {
    const lines = Buffer.from(shared)
    let [count, last, hasPeeled] = [0, 0, false]
    for (let at = 0, end = 0; at < lines.length; at = end) {
      end = at + pktLengthAt(lines, at)!
      hasPeeled ||= isPeeled(lines, at, end)
      last = at
      count++
    }
    this.lines = lines
    this.count = count
    this.first = nameIn(lines, 0)
    this.last = nameIn(lines, last)
    this.#hasPeeled = hasPeeled
  }

  /** Refs sorted bytewise by name, cut into blocks of up to `size`. @throws ProtocolError `too-large` for a name no pkt-line holds */
  static of(refs: readonly Ref[], size: number): RefBlock[] {
    const blocks: RefBlock[] = []
    for (let at = 0; at < refs.length; at += size) {
      const text = refsText(refs.slice(at, at + size), true)
      const shared = new SharedArrayBuffer(text.length)
      Buffer.from(shared).write(text, 'latin1')
      blocks.push(new RefBlock(shared))
    }
    return blocks
  }

  get refs(): readonly Ref[] {
    return (this.#refs ??= parseRefs(this.lines))
  }

  /** The pkt-lines of refs `from` to `to`, exclusive: with what tags peel to behind their names, or without. */
  linesOf(peel: boolean, from = 0, to = this.count): Buffer {
    const isWhole = from === 0 && to === this.count
    if (isWhole && (peel || !this.#hasPeeled)) return this.lines
    return Buffer.from(refsText(isWhole ? this.refs : this.refs.slice(from, to), peel), 'latin1')
  }

  /** The pkt-lines of protocol v0: what a tag peels to on a line of its own, `name^{}`. */
  linesV0(): Buffer {
    if (!this.#hasPeeled) return this.lines
    const entries = this.refs.flatMap(({ name, oid, peeled }) =>
      peeled
        ? [
            { name, oid },
            { name: `${name}^{}` as RefName, oid: peeled },
          ]
        : { name, oid },
    )
    return Buffer.from(refsText(entries, false), 'latin1')
  }
}

/** Index of the first block that holds `name` or what comes after it; the number of blocks: none does. */
export const firstBlockFrom = (blocks: readonly RefBlock[], name: string): number => lowerBound(blocks.length, (i) => blocks[i]!.last < name)

/** Index of the first of `refs` whose name is not before `name`. */
export const firstRefFrom = (refs: readonly Ref[], name: string): number => lowerBound(refs.length, (i) => refs[i]!.name < name)

function lowerBound(length: number, isBefore: (i: number) => boolean): number {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(middle)) low = middle + 1
    else high = middle
  }
  return low
}

function refsText(refs: readonly Ref[], peel: boolean): string {
  let text = ''
  for (const { name, oid, peeled } of refs) text += textPkt(`${oid} ${name}${peel && peeled ? ` peeled:${peeled}` : ''}\n`)
  return text
}

function parseRefs(lines: Buffer): readonly Ref[] {
  const refs: Ref[] = []
  for (let at = 0, end = 0; at < lines.length; at = end) {
    end = at + pktLengthAt(lines, at)!
    const oid = lines.toString('latin1', at + oidAt, at + oidAt + 40) as Oid
    const name = nameIn(lines, at)
    refs.push(isPeeled(lines, at, end) ? { name, oid, peeled: lines.toString('latin1', end - 41, end - 1) as Oid } : { name, oid })
  }
  return refs
}

/** No ref name has a blank in it, so a blank behind the one after the oid begins ` peeled:`. */
const isPeeled = (lines: Buffer, at: number, end: number): boolean => end - 1 - peeledBytes > at + nameAt && lines[end - 1 - peeledBytes] === 0x20

function nameIn(lines: Buffer, at: number): RefName {
  const end = at + pktLengthAt(lines, at)!
  return lines.toString('latin1', at + nameAt, isPeeled(lines, at, end) ? end - 1 - peeledBytes : end - 1) as RefName
}
