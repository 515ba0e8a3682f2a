import { readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { loadConfig, type Config } from '../config/config.js'
import { HubError } from '../errors.js'
import { UsageError, type Command } from './command.js'
import { settingsHelp, settingsOptions, withFlags } from './settings-flags.js'

export const migrateStoreCommand: Command = {
  name: 'migrate-store',
  takes: '--to FILE [--accept-lost] | --undo [--SETTING VALUE …]',
  summary: 'move the data to another database and store',
  details: [
    'From where the settings lead, as for serve, to where those in FILE lead: lines such as DATABASE_URL=…, all that the hub there will be run with.',
    'Hubs go on while objects are copied; for the switch they refuse changes for a moment. Stopped at any time, it goes on when it is run again.',
    '',
    '--to FILE      settings of the target, which must be empty',
    '--accept-lost  move although objects are lost or damaged in the source; they are named',
    '--undo         take back that the data was moved away from here; what was changed at the other place since is not here',
    '',
    ...settingsHelp,
  ],
  options: { ...settingsOptions, to: { type: 'string' }, 'accept-lost': { type: 'boolean' }, undo: { type: 'boolean' } },
  words: 0,
  async run({ env, out, err }, _words, { to, 'accept-lost': acceptLost, undo, ...values }) {
    if ((to === undefined) === (undo !== true)) throw new UsageError('say where to: --to FILE, or --undo')
    const source = loadConfig(withFlags(env, values))
    const log = (fields: object, phrase: string) => ('err' in fields ? err(`${phrase}: ${String(fields.err)}`) : undefined)
    const { moveHub, undoMoveOf } = await import('../server/move-hub.js')
    if (to === undefined) {
      const { place } = await undoMoveOf(source, log)
      out(`The data is the hub's again. What was changed since at the other place, ${place}, is not in it: do not start a hub there any more.`)
      return 0
    }
    const target = await readTarget(String(to))
    const stop = new AbortController()
    const onSignal = () => stop.abort(new HubError('unavailable', 'stopped: run the same command again, and it goes on where it was'))
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
    try {
      const moved = await moveHub({ source, target, acceptLost: acceptLost === true, say: err, log, signal: stop.signal })
      if (moved === 'was moved before') out('the data was moved there before: nothing to do')
      else out(`moved: ${moved.rows} rows; the hub took no changes for ${(moved.readOnlyMs / 1000).toFixed(1)} s`)
      out(`Start the hub with the settings in ${String(to)}. The old place is as it was, and a hub does not start there.`)
      return 0
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    }
  },
}

/** The file is all of the target's settings: what the environment says is about the source. */
async function readTarget(path: string): Promise<Config> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path} cannot be read: ${error.code}`)
  })
  try {
    return loadConfig(parseEnv(text))
  } catch (error) {
    throw error instanceof HubError ? new HubError(error.code, `in ${path}: ${error.message}`) : error
  }
}
