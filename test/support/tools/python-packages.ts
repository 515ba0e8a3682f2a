import { digestOf } from './program-sources.js'
import { readFile } from 'node:fs/promises'
import { cachedFolder } from './cached-folder.js'
import { runTool } from './run-tool.js'

const options = ['--quiet', '--no-deps', '--no-compile', '--require-hashes', '--only-binary', ':all:', '--disable-pip-version-check']

/** A folder for `PYTHONPATH` with what a file of requirements names, from PyPI. pip refuses a package whose SHA-256 is another. */
export async function pythonPackages(name: string, requirements: string): Promise<string> {
  const python = await runTool('python3', ['--version'])
  return cachedFolder(`${name}-${digestOf(python, await readFile(requirements))}`, async (folder) => {
    await runTool('python3', ['-m', 'pip', 'install', ...options, '--target', folder, '-r', requirements])
  })
}
