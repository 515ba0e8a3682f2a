import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const maxOutputBytes = 16 * 2 ** 20

export interface ToolOptions {
  readonly cwd?: string
  /** All of it; by default this process's own. */
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Runs a program to its end. What it printed on standard output.
 * @throws Error with what it printed on both, when it fails or is not there
 */
export async function runTool(program: string, args: readonly string[], { cwd, env }: ToolOptions = {}): Promise<string> {
  try {
    const run = await promisify(execFile)(program, args, { cwd, env: { ...(env ?? process.env) }, maxBuffer: maxOutputBytes, encoding: 'utf8' })
    return run.stdout
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`${program} ${args.join(' ')} failed: ${(error as Error).message}\n${stdout}${stderr}`, { cause: error })
  }
}

/** What `find` gives, or why there is nothing: the reason that a skipped test names. */
export type Found<T> = { readonly tool: T; readonly missing: false } | { readonly tool?: undefined; readonly missing: string }

export async function findTool<T>(what: string, find: () => Promise<T>): Promise<Found<T>> {
  try {
    return { tool: await find(), missing: false }
  } catch (error) {
    return { missing: `${what} is not to be had: ${(error as Error).message.split('\n')[0]}` }
  }
}
