import { parseArgs, type ParseArgsConfig } from 'node:util'

export type Env = Readonly<Record<string, string | undefined>>

/** What a command may talk to. */
export interface Terminal {
  readonly env: Env
  /** A line of result. */
  readonly out: (text: string) => void
  /** A line for people: complaints, progress. */
  readonly err: (text: string) => void
}

export type Options = NonNullable<ParseArgsConfig['options']>
export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

export interface Command {
  /** As typed: `repo create`. */
  readonly name: string
  /** What stands behind the name in its usage line. */
  readonly takes: string
  /** One line. */
  readonly summary: string
  /** More lines of help, ready to print. */
  readonly details?: readonly string[]
  readonly options: Options
  /** How many words it takes. */
  readonly words: number
  /** Comes back with an exit code: 0 done. Whatever it throws is printed, and the code is 1. */
  run(terminal: Terminal, words: readonly string[], values: Values): Promise<number>
}

/** The command line itself is wrong: exit code 2. */
export class UsageError extends Error {}

/** @throws UsageError */
export function parseWords(command: Command, args: readonly string[]): { words: readonly string[]; values: Values } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { ...command.options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
      strict: true,
    })
    if (!values['help'] && positionals.length !== command.words) {
      throw new UsageError(
        `${command.name} takes ${command.words === 0 ? 'no arguments' : command.takes}, got ${positionals.length === 0 ? 'none' : `'${positionals.join(' ')}'`}`,
      )
    }
    return { words: positionals, values }
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError((error as Error).message)
  }
}
