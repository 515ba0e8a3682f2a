import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { settingsTable } from '../../src/config/config.js'
import { projectRoot } from './hub.js'

/** A file below `deploy/`. */
export const readDeploy = (...path: string[]): string => readFileSync(join(projectRoot, 'deploy', ...path), 'utf8')

/** Names among these that look like settings of the hub and are none. */
export const notSettings = (names: readonly string[]): readonly string[] =>
  names.filter((name) => /^(CAIRN|DATABASE)_/.test(name) && !settingsTable.some((setting) => setting.name === name))

/** Beyond `closeGraceMs`, how long the hub may take to stop: the bound in src/cli/serve.ts. */
export const closeBoundSeconds = 30
