import { programClient, type ClientCase } from '../git-client.js'
import { goBuild } from './go-build.js'
import { programSource } from './program-sources.js'
import { findTool } from './run-tool.js'

/** go-git, of both majors. */
export const findGoGit = async (): Promise<readonly [v5: ClientCase, v6: ClientCase]> => [await goGit('v5'), await goGit('v6')]

async function goGit(major: string): Promise<ClientCase> {
  const name = `go-git ${major}`
  return { name, found: await findTool(name, async () => programClient(await goBuild('go-git-clients', programSource('go-git')), [major])) }
}
