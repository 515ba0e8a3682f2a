import { humanLine } from './human-text.js'
import { dataPkt, flushPkt } from './pkt-line.js'
import type { CommandResult, PushCommand } from './types.js'

/**
 * Yields the report of a push, one line a command. report-status and report-status-v2 are the same here: v2 adds lines only where the
 * server rewrote an update.
 *
 * Spec: gitprotocol-pack(5), "Report Status".
 */
export function* reportStatus(unpack: string, results: readonly CommandResult[]): Generator<Buffer> {
  yield dataPkt(Buffer.from(`unpack ${humanLine(unpack)}\n`))
  for (const result of results) {
    const [word, reason] = result.kind === 'ok' ? ['ok', ''] : ['ng', ` ${humanLine(result.reason)}`]
    yield dataPkt(Buffer.concat([Buffer.from(`${word} ${result.name}`, 'latin1'), Buffer.from(`${reason}\n`)]))
  }
  yield flushPkt
}

/** What each command hears when the pack could not be taken in. */
export function unpackFailed(commands: readonly PushCommand[]): readonly CommandResult[] {
  return commands.map(({ name }) => ({ name, kind: 'refused', reason: 'unpacker error' }))
}
