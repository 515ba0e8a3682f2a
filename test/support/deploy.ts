import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig, settingsTable, type Config } from '../../src/config/config.js'
import { projectRoot } from './hub.js'

/** A file below `deploy/`. */
export const readDeploy = (...path: string[]): string => readFileSync(join(projectRoot, 'deploy', ...path), 'utf8')

/** Names among these that look like settings of the hub and are none. */
export const notSettings = (names: readonly string[]): readonly string[] =>
  names.filter((name) => /^(CAIRN|DATABASE)_/.test(name) && !settingsTable.some((setting) => setting.name === name))

/**
 * How the hub reads these settings, those of the object store left out.
 * @throws HubError with every complaint
 */
export const readAsHub = (env: Readonly<Record<string, string>>): Config =>
  loadConfig(Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('CAIRN_S3_'))))

/** Beyond `closeGraceMs`, how long the hub may take to stop: the bound in src/cli/serve.ts. */
export const closeBoundSeconds = 30
