import { settingsTable } from '../config/config.js'
import type { Env, Options, Values } from './command.js'

/** `CAIRN_PORT` → `port`, `DATABASE_URL` → `database-url`. */
const flagOf = (name: string): string =>
  name
    .replace(/^CAIRN_/, '')
    .toLowerCase()
    .replaceAll('_', '-')

/** Every setting as a flag. */
export const settingsOptions: Options = Object.fromEntries(settingsTable.map(({ name }) => [flagOf(name), { type: 'string' as const }]))

export const settingsHelp: readonly string[] = [
  'Every setting may be given as a flag, which counts more than the environment:',
  ...settingsTable.map(({ name }) => `  --${flagOf(name).padEnd(22)} ${name}`),
]

/** The environment, with flags in front of it. */
export function withFlags(env: Env, values: Values): Env {
  const given = settingsTable.flatMap(({ name }) => {
    const value = values[flagOf(name)]
    return typeof value === 'string' ? [[name, value] as const] : []
  })
  return { ...env, ...Object.fromEntries(given) }
}
