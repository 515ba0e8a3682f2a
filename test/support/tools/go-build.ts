import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cachedFolder } from './cached-folder.js'
import { digestOfFiles } from './program-sources.js'
import { runTool } from './run-tool.js'

/** A program of ours in Go, built once for each state of its files; its `go.sum` says what modules must be. */
export async function goBuild(name: string, folder: string): Promise<string> {
  const files = (await readdir(folder)).toSorted().map((file) => join(folder, file))
  const built = await cachedFolder(`${name}-${digestOfFiles(files)}`, async (into) => {
    const env = { ...(process.env as Record<string, string>), GOFLAGS: '-buildvcs=false -mod=readonly' }
    await runTool('nice', ['go', 'build', '-o', join(into, name), '.'], { cwd: folder, env })
  })
  return join(built, name)
}
