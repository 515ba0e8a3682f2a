/**
 * How V8 keeps house, where its own ways are for programs with larger heaps. Bytes from the network and from files come in buffers that are dead at
 * once and lie outside of the heap, and V8 counts them when it decides to look through all that is alive: beside our small heap a few megabytes
 * of them were enough, and of 1 GiB through the hub more than half the work was looking.
 * New objects may take 4 MB, twice, and are swept out, with the buffers that only they held, before it comes to that; and it comes to that when as
 * much is there as was alive the last time.
 */
const flags = ['--max-semi-space-size=4', '--heap-growing-percent=100']
const young = '--max-semi-space-size'

/**
 * Starts this process anew, in its own place, with these flags: they are settled when V8 starts, and whoever started us may not know. Whoever gave
 * a size of his own keeps it.
 */
export function settleHeap({ execArgv, env }: { readonly execArgv: readonly string[]; readonly env: NodeJS.ProcessEnv }): void {
  if ([...execArgv, env['NODE_OPTIONS'] ?? ''].some((arg) => arg.includes(young)) || !process.execve) return
  const [node, ...args] = process.argv
  process.execve(process.execPath, [node ?? process.execPath, ...flags, ...execArgv, ...args], env)
}
