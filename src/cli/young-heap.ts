/**
 * The most that new objects may take, MB, twice. Bytes from the network come in buffers of 64 KiB that are dead at once and lie outside of the
 * heap; V8 frees them when it empties the young generation, and after some 30 MB of them looks through all that is alive instead. A young
 * generation that fills before that is emptied first, for next to nothing: of 1 GiB through the hub looking was more than half the work.
 */
const semiSpaceMB = 2
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
