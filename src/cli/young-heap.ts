/**
 * The most that new objects may take, MB, twice. Bytes from the network come in buffers of 64 KiB that are dead at once but count as heap: with
 * the 64 MB that Node gives itself on a large machine V8 looks through all that is alive, again and again, before it looks at them. A young
 * generation that fills sooner is emptied sooner, for next to nothing.
 */
const semiSpaceMB = 8
const flag = '--max-semi-space-size'

/**
 * Starts this process anew, in its own place, with a young generation of that size: it is settled when V8 starts, and whoever started us may not
 * know. Whoever gave a size of his own keeps it.
 */
export function limitYoungHeap({ execArgv, env }: { readonly execArgv: readonly string[]; readonly env: NodeJS.ProcessEnv }): void {
  if ([...execArgv, env['NODE_OPTIONS'] ?? ''].some((arg) => arg.includes(flag)) || !process.execve) return
  const [node, ...args] = process.argv
  process.execve(process.execPath, [node ?? process.execPath, `${flag}=${semiSpaceMB}`, ...execArgv, ...args], env)
}
