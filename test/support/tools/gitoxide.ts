import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { git } from '../git.js'
import { runStep, type ClientCase, type GitClient } from '../git-client.js'
import { cachedFolder } from './cached-folder.js'
import { findTool, runTool } from './run-tool.js'

const version = '0.61.0'
/** What `gix` needs to speak HTTP; all of it takes three times as long to build. */
const features = ['sha1', 'gitoxide-core-blocking-client', 'http-client-curl', 'pretty-cli', 'prodash-render-line']

/** gitoxide's own program, built by cargo from its locked dependencies. It cannot push. */
export async function findGitoxide(): Promise<ClientCase> {
  const name = 'gitoxide'
  const found = await findTool(name, async () => {
    const folder = await cachedFolder(`gitoxide-${version}`, async (into) => {
      const options = ['--locked', '--debug', '--no-default-features', '--features', features.join(','), '--root', into, '--bin', 'gix']
      const env = { ...(process.env as Record<string, string>), CARGO_TARGET_DIR: join(into, 'target'), CARGO_PROFILE_DEV_DEBUG: '0' }
      await runTool('nice', ['cargo', 'install', '--quiet', 'gitoxide', '--version', version, ...options], { env })
      await rm(join(into, 'target'), { recursive: true })
    })
    return gitoxide(join(folder, 'bin', 'gix'))
  })
  return { name, found }
}

/** It sends no password over plain HTTP: the token goes in a header, and is remembered as git would. */
function gitoxide(program: string): GitClient {
  const deep = (depth: number | undefined): string[] => (depth === undefined ? [] : [`--depth=${depth}`])
  return {
    async clone(address, folder, { depth, filter } = {}) {
      if (filter !== undefined) throw new Error('gitoxide has no partial clone')
      const url = new URL(address)
      const header = `Authorization: Bearer ${url.password}`
      const options = url.password === '' ? [] : ['-c', `http.extraHeader=${header}`]
      url.username = url.password = ''
      await runStep(program, [...options, 'clone', ...deep(depth), url.href, folder])
      await git(['config', 'http.extraHeader', header], { cwd: folder })
    },
    fetch: (folder, { depth } = {}) => runStep(program, ['-r', folder, 'fetch', '-r', 'origin', ...deep(depth)]),
    async push() {
      throw new Error('gitoxide cannot push')
    },
  }
}
