import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { wireLimits } from './limits.js'
import { dataPkt, flushPkt, pktText, type PktReader } from './pkt-line.js'
import type { RefTable } from './ports.js'
import { firstBlockFrom, firstRefFrom, type RefBlock } from './ref-block.js'

export interface LsRefsRequest {
  readonly peel: boolean
  readonly symrefs: boolean
  readonly unborn: boolean
  /** Refs that begin with one of these, one character a byte; none: every ref. */
  readonly prefixes: readonly string[]
}

/** No arguments were sent at all: isomorphic-git leaves them out with their delimiter. */
export const plainLsRefs: LsRefsRequest = { peel: false, symrefs: false, unborn: false, prefixes: [] }

/**
 * Reads the arguments of `ls-refs` up to their flush.
 * @throws ProtocolError `bad-request`
 */
export async function readLsRefs(reader: PktReader): Promise<LsRefsRequest> {
  let [peel, symrefs, unborn, every] = [false, false, false, false]
  const prefixes: string[] = []
  for (;;) {
    const pkt = await reader.next()
    if (pkt?.kind === 'flush') return { peel, symrefs, unborn, prefixes: every ? [] : prefixes }
    if (pkt?.kind !== 'data') throw new ProtocolError('bad-request', 'ls-refs: expected a flush after the arguments')
    const line = pktText(pkt.payload)
    if (line === 'peel') peel = true
    else if (line === 'symrefs') symrefs = true
    else if (line === 'unborn') unborn = true
    else if (!line.startsWith('ref-prefix ')) throw new ProtocolError('bad-request', `ls-refs: unexpected line: '${humanLine(line)}'`)
    else if (prefixes.length < wireLimits.refPrefixes) prefixes.push(line.slice(11))
    else every = true
  }
}

/**
 * Yields the answer to `ls-refs`, one pkt-line or many at a time: HEAD first, then the refs in bytewise order. HEAD of a repository without
 * commits is named only to those who asked for `unborn` and `symrefs`: it is how a clone of an empty repository learns its branch.
 *
 * Spec: gitprotocol-v2(5), "ls-refs".
 */
export function* listRefs(refs: RefTable, request: LsRefsRequest): Generator<Buffer> {
  const { peel, symrefs, unborn } = request
  const prefixes = minimalPrefixes(request.prefixes)
  if (prefixes.some((prefix) => 'HEAD'.startsWith(prefix))) {
    const target = refs.find(refs.head)
    const symref = symrefs ? ` symref-target:${refs.head}` : ''
    if (target) yield dataPkt(`${target.oid} HEAD${symref}${peel && target.peeled ? ` peeled:${target.peeled}` : ''}\n`)
    else if (unborn && symrefs) yield dataPkt(`unborn HEAD${symref}\n`)
  }
  for (const prefix of prefixes) yield* linesWithPrefix(refs.blocks, prefix, peel)
  yield flushPkt
}

function* linesWithPrefix(blocks: readonly RefBlock[], prefix: string, peel: boolean): Generator<Buffer> {
  for (let i = firstBlockFrom(blocks, prefix); i < blocks.length; i++) {
    const block = blocks[i]!
    if (block.first.startsWith(prefix) && block.last.startsWith(prefix)) {
      yield block.linesOf(peel)
      continue
    }
    const { refs } = block
    const from = firstRefFrom(refs, prefix)
    let to = from
    while (to < refs.length && refs[to]!.name.startsWith(prefix)) to++
    if (to > from) yield block.linesOf(peel, from, to)
    if (to < refs.length) return
  }
}

/** Sorted, and none the beginning of another: so each stands for a stretch of the refs, and no ref is in two. None asked: all refs. */
function minimalPrefixes(prefixes: readonly string[]): readonly string[] {
  if (prefixes.length === 0) return ['']
  const kept: string[] = []
  for (const prefix of prefixes.toSorted(byBytes)) {
    const last = kept.at(-1)
    if (last === undefined || !prefix.startsWith(last)) kept.push(prefix)
  }
  return kept
}

const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
