import { join } from 'node:path'
import { cachedFolder } from './cached-folder.js'
import { runTool } from './run-tool.js'

/** The next long-term Node, beside the one this project runs on. */
const version = '26.10.0'

/** Its program, installed from npm once. Linux only, as the package is. @throws when npm cannot get it */
export async function nextNode(): Promise<string> {
  const name = `node-linux-${process.arch}`
  const folder = await cachedFolder(`node-${version}-${process.arch}`, async (into) => {
    await runTool('npm', ['install', '--prefix', into, '--no-audit', '--no-fund', '--save-exact', `${name}@${version}`])
  })
  return join(folder, 'node_modules', name, 'bin', 'node')
}
