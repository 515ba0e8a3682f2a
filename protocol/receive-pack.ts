import { receivePackCapabilities } from './capabilities.js'
import { ProtocolError } from './errors.js'
import { attend, type Chatter, type Clock } from './keepalive.js'
import { wireLimits } from './limits.js'
import { errPkt, flushPkt, gatherLong, readPkts, type PktReader } from './pkt-line.js'
import type { ReceivePort, RefTable, Slices, UpdateRequest } from './ports.js'
import { ProgressLines } from './progress.js'
import { BadPush, isDelete, mergeResults, readPush, refuseCommands, type PushRequest } from './push-commands.js'
import { advertiseRefs, serviceHeader } from './ref-advertisement.js'
import { reportStatus, unpackFailed } from './report-status.js'
import { bandPkts, bands, fatalPkt, keepalivePkt, messagePkt } from './side-band.js'
import type { CommandResult } from './types.js'

export interface ReceivePackOptions extends Clock {
  readonly body: AsyncIterable<Uint8Array>
  readonly port: ReceivePort
  readonly slices: Slices
}

/** Yields the answer to `GET info/refs?service=git-receive-pack`: v0 whatever was asked, no HEAD, tags unpeeled. Pushing has no v2. */
export function* advertiseReceivePack(refs: RefTable, version: 0 | 1 | 2 = 0): Generator<Buffer> {
  yield* serviceHeader('git-receive-pack')
  yield* gatherLong(advertiseRefs(version === 1 ? 1 : 0, advertisedLines(refs), receivePackCapabilities))
}

function* advertisedLines({ blocks }: RefTable): Generator<Buffer> {
  for (const block of blocks) yield block.linesOf(false)
}

/**
 * Yields the answer to one `POST git-receive-pack`. It begins only when the whole request has been read (or given up); from then on there
 * are keepalives until the report. A refused ref is a line of the report, and so is a refused pack.
 *
 * Spec: gitprotocol-pack(5), "Pushing Data To a Server"; gitprotocol-http(5), "Smart Service git-receive-pack".
 * @throws ProtocolError before the first yield: `bad-request` for broken framing. What is our fault is thrown as it came, after a last
 * line to the client if the answer had begun, for the caller to log and to cut the connection
 */
export async function* receivePack(options: ReceivePackOptions): AsyncGenerator<Uint8Array> {
  const reader = readPkts(options.body)
  let push: PushRequest | undefined
  try {
    push = await readPush(reader)
  } catch (error) {
    if (!(error instanceof BadPush)) throw error
    await reader.drain(wireLimits.drainBytes)
    yield error.sideBand ? Buffer.concat([fatalPkt(error.message), flushPkt]) : errPkt(error.message)
    return
  }
  if (push === undefined) {
    yield flushPkt
    return
  }
  const lines = new ProgressLines()
  let begun = false
  const chatter: Chatter = {
    take: () => (reader.ended && push.sideBand ? lines.take(65_520) : undefined),
    beat: () => (reader.ended && push.sideBand ? keepalivePkt : undefined),
    onWake(wake) {
      lines.wake = wake
    },
  }
  try {
    const talk = attend(carryOut(push, reader, options, lines), chatter, options)
    let step = await talk.next()
    try {
      while (!step.done) {
        begun = true
        yield step.value
        step = await talk.next()
      }
    } finally {
      await talk.return(undefined as never)
    }
    yield* answer(push, step.value, push.sideBand ? lines.take(65_520) : undefined)
  } catch (error) {
    if (begun) yield fatalPkt('internal error')
    throw error
  }
}

/** `unpack`: 'ok', or why the pack was refused. */
interface Outcome {
  readonly unpack: string
  readonly results: readonly CommandResult[]
}

/** Everything between the last command and the report. What it opened is closed when it settles. */
async function carryOut(push: PushRequest, reader: PktReader, options: ReceivePackOptions, lines: ProgressLines): Promise<Outcome> {
  const { commands, atomic, pushOptions, problem } = push
  const refused = refuseCommands(commands, atomic)
  const kept = commands.filter((_, i) => !refused.has(i))
  if (problem !== undefined || kept.length === 0) {
    await reader.drain(wireLimits.drainBytes)
    return problem === undefined
      ? { unpack: 'ok', results: mergeResults(commands, refused, []) }
      : { unpack: problem, results: unpackFailed(commands) }
  }
  try {
    const results = await update({ commands: kept, atomic, pushOptions }, push.quiet, reader, options, lines)
    return { unpack: 'ok', results: mergeResults(commands, refused, results) }
  } catch (error) {
    if (!(error instanceof ProtocolError) || error.code === 'corrupt' || error.code === 'cancelled') throw error
    // git sends everything before it reads anything: without this the reason would be lost in a broken connection.
    await reader.drain(wireLimits.drainBytes)
    if (push.fromShallow && error.code === 'missing-object') {
      // Its commits lean on some that neither side has: we would have to be shallow as well.
      lines.say(error.message)
      return { unpack: 'ok', results: commands.map(({ name }) => ({ name, kind: 'refused', reason: 'shallow update not allowed' })) }
    }
    return { unpack: error.message, results: unpackFailed(commands) }
  }
}

async function update(
  request: UpdateRequest,
  quiet: boolean,
  reader: PktReader,
  { port, slices }: ReceivePackOptions,
  lines: ProgressLines,
): Promise<readonly CommandResult[]> {
  // Deletes need no pack; some clients send an empty one all the same, or one for commands that were refused.
  const pack = request.commands.every(isDelete) ? undefined : reader.rest()
  if (!pack) await reader.drain(wireLimits.drainBytes)
  const staged = await port.stage(pack, request, quiet ? { slices } : { slices, onProgress: (progress) => lines.report(progress) })
  try {
    lines.finish()
    await reader.drain(wireLimits.drainBytes)
    return await port.apply(staged, request, (line) => lines.say(line))
  } finally {
    await staged.dispose()
  }
}

/** Never empty: git takes an answer without a byte for a failure. */
function* answer(push: PushRequest, { unpack, results }: Outcome, said: Uint8Array | undefined): Generator<Uint8Array> {
  const report = push.reportStatus ? [...reportStatus(unpack, results)] : []
  if (!push.sideBand) {
    yield report.length > 0 ? Buffer.concat(report) : flushPkt
    return
  }
  const failure = unpack !== 'ok' && !push.quiet ? [messagePkt(`error: ${unpack}`)] : []
  yield Buffer.concat([...(said ? [said] : []), ...failure, bandPkts(bands.data, Buffer.concat(report)), flushPkt])
}
