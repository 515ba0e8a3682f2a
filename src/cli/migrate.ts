import { loadConfig } from '../config/config.js'
import type { Command } from './command.js'
import { settingsHelp, settingsOptions, withFlags } from './settings-flags.js'

/** For an embedded database only while the hub is stopped: it is started here and stopped again. */
export const migrateCommand: Command = {
  name: 'migrate',
  takes: '[--SETTING VALUE …]',
  summary: 'bring the database to this version, and end',
  details: settingsHelp,
  options: settingsOptions,
  words: 0,
  async run({ env, out }, _words, values) {
    const config = loadConfig(withFlags(env, values))
    const { openGround } = await import('../server/ground.js')
    const ground = await openGround(config, () => undefined)
    await ground.close()
    out(ground.migrated.length === 0 ? 'nothing to do' : ground.migrated.map((name) => `ran ${name}`).join('\n'))
    return 0
  },
}
