import { programClient, type ClientCase } from '../git-client.js'
import { goBuild } from './go-build.js'
import { programSource } from './program-sources.js'
import { findTool } from './run-tool.js'

/** go-git, of both majors. */
export function findGoGit(): Promise<readonly ClientCase[]> {
  return Promise.all(
    ['v5', 'v6'].map(async (major) => {
      const name = `go-git ${major}`
      return { name, found: await findTool(name, async () => programClient(await goBuild('go-git-clients', programSource('go-git')), [major])) }
    }),
  )
}
