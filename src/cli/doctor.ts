import { loadConfig } from '../config/config.js'
import type { Command } from './command.js'
import { settingsOptions, withFlags } from './settings-flags.js'

export const doctorCommand: Command = {
  name: 'doctor',
  takes: '[--json] [--SETTING VALUE …]',
  summary: 'look at database, store, disk and address, and name what is wrong',
  details: [
    'Reads the same settings as serve, and may run beside a hub. It changes nothing and leaves nothing behind.',
    'Every fault names the setting to change. Exit code 1 when there is one.',
    '',
    '--json  one finding a line: check, state, says, change',
  ],
  options: { ...settingsOptions, json: { type: 'boolean' } },
  words: 0,
  async run({ env, out }, _words, { json, ...values }) {
    const config = loadConfig(withFlags(env, values))
    const { runDoctor } = await import('../server/doctor/doctor.js')
    let faults = 0
    for await (const finding of runDoctor(config)) {
      const { check, state, says, change = [] } = finding
      if (state === 'fault') faults++
      if (json === true) out(JSON.stringify(finding))
      else out(`${{ ok: 'ok   ', fault: 'FAULT', skipped: '-    ' }[state]} ${check}: ${says}${change.length === 0 ? '' : ` → ${change.join(', ')}`}`)
    }
    if (json !== true) out(faults === 0 ? 'no fault found' : `${faults} ${faults === 1 ? 'fault' : 'faults'} found`)
    return faults === 0 ? 0 : 1
  },
}
