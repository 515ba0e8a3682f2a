import { dataPkt, flushPkt, pktLengthAt } from './pkt-line.js'
import { zeroOid, type GitService } from './types.js'

/** What stands before the advertisement proper over HTTP, in protocol v0 and v1. */
export function* serviceHeader(service: GitService): Generator<Buffer> {
  yield dataPkt(`# service=${service}\n`)
  yield flushPkt
}

/**
 * Yields the v0 advertisement: `lines`, pkt-lines `oid name` in chunks of one or more, the capabilities behind the first. A repository without refs still names its
 * capabilities, on a line with the zero oid. Version 1 is the same behind a line that says so.
 *
 * Spec: gitprotocol-pack(5), "Reference Discovery".
 */
export function* advertiseRefs(version: 0 | 1, lines: Iterable<Buffer>, capabilities: readonly string[]): Generator<Buffer> {
  if (version === 1) yield dataPkt('version 1\n')
  let suffix = `\0${capabilities.join(' ')}`
  for (const chunk of lines) {
    if (suffix === '') {
      yield chunk
      continue
    }
    const end = pktLengthAt(chunk, 0)!
    yield dataPkt(`${chunk.toString('latin1', 4, end - 1)}${suffix}\n`)
    yield chunk.subarray(end)
    suffix = ''
  }
  if (suffix !== '') yield dataPkt(`${zeroOid} capabilities^{}${suffix}\n`)
  yield flushPkt
}

/**
 * Yields the v2 advertisement. It names no refs: those are asked for with `ls-refs`.
 *
 * Spec: gitprotocol-v2(5), "Capability Advertisement".
 */
export function* advertiseCapabilities(capabilities: readonly string[]): Generator<Buffer> {
  yield dataPkt('version 2\n')
  for (const capability of capabilities) yield dataPkt(`${capability}\n`)
  yield flushPkt
}
