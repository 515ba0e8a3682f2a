import { programClient, type ClientCase } from '../git-client.js'
import { programSource } from './program-sources.js'
import { pythonPackages } from './python-packages.js'
import { findTool } from './run-tool.js'

async function pythonClient(name: string, requirements: string, program: string): Promise<ClientCase> {
  const found = await findTool(name, async () => {
    const packages = await pythonPackages(name.replaceAll(' ', '-'), programSource('python', requirements))
    return programClient('python3', ['-B', programSource('python', program)], { PYTHONPATH: packages })
  })
  return { name, found }
}

/** libgit2 under Python. */
export const findLibgit2 = (): Promise<ClientCase> => pythonClient('libgit2', 'requirements-pygit2.txt', 'pygit2_client.py')

/** The newest, and the last one that speaks v0 only. */
export const findDulwich = async (): Promise<readonly [newest: ClientCase, v0: ClientCase]> => [
  await pythonClient('dulwich', 'requirements-dulwich.txt', 'dulwich_client.py'),
  await pythonClient('dulwich 0.21', 'requirements-dulwich-v0.txt', 'dulwich_client.py'),
]
