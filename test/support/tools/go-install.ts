import { join } from 'node:path'
import { cachedFolder } from './cached-folder.js'
import { runTool } from './run-tool.js'

export interface GoProgram {
  /** As the package path ends, and so the file. */
  readonly name: string
  readonly packagePath: string
  /** With its `v`. */
  readonly version: string
}

/** A program's path, built once and kept: by the module proxy, checked against Go's own checksum database. */
export async function goProgram({ name, packagePath, version }: GoProgram): Promise<string> {
  const folder = await cachedFolder(`${name}-${version.replace(/^v/, '')}`, async (folder) => {
    const env = { ...(process.env as Record<string, string>), GOBIN: folder, GOFLAGS: '-buildvcs=false' }
    // Large ones take minutes of all cores, while other tests measure time.
    await runTool('nice', ['go', 'install', `${packagePath}@${version}`], { env })
  })
  return join(folder, name)
}
