import { git } from './git.js'
import { makeEmpty } from './hostile.js'
import type { Hub } from './hub.js'

/** What git prints, without blanks around it. */
export async function gitText(cwd: string, ...args: readonly string[]): Promise<string> {
  return (await git(args, { cwd })).stdout.toString('utf8').trim()
}

/** A model of the admin without a commit; its address, with credentials in it. */
export async function createEmpty(hub: Hub, name: string): Promise<string> {
  return hub.remote(await makeEmpty(hub, name))
}
