import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../hub.js'

/** A file of the small programs, in other languages, that use git's other clients. */
export const programSource = (...path: readonly string[]): string => join(projectRoot, 'test', 'support', 'programs', ...path)

/** Short, and another one for other content: for names in the cache. */
export function digestOf(...contents: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256')
  for (const content of contents) hash.update(content).update('\0')
  return hash.digest('hex').slice(0, 12)
}

/** Of files. */
export const digestOfFiles = (paths: readonly string[]): string => digestOf(...paths.map((path) => readFileSync(path)))
