import { HubError } from '../errors.js'
import { parseWords, UsageError, type Command, type Terminal } from './command.js'
import { doctorCommand } from './doctor.js'
import { fsckCommand } from './fsck.js'
import { gcCommand } from './gc.js'
import { migrateCommand } from './migrate.js'
import { migrateStoreCommand } from './migrate-store.js'
import { repoPurge } from './purge.js'
import { repoReflog, repoRestore } from './ref-history.js'
import { repoCreate, repoDelete, repoDuplicate } from './repo.js'
import { serveCommand } from './serve.js'
import { tokenCreate } from './token.js'
import { userCreate } from './user.js'

const commands: readonly Command[] = [
  serveCommand,
  migrateCommand,
  migrateStoreCommand,
  repoCreate,
  repoDuplicate,
  repoDelete,
  repoReflog,
  repoRestore,
  repoPurge,
  userCreate,
  tokenCreate,
  gcCommand,
  fsckCommand,
  doctorCommand,
]

/** Runs one command line. Exit codes: 0 done, 1 failed, 2 not understood. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  const isHelp = (word: string | undefined): boolean => word === '--help' || word === '-h' || word === 'help'
  if (args.length === 0 || isHelp(args[0])) {
    terminal.out(overview(commands))
    return args.length === 0 ? 2 : 0
  }
  const command = commands.find(({ name }) => name.split(' ').every((word, i) => args[i] === word))
  if (!command) {
    const group = commands.filter(({ name }) => name.startsWith(`${args[0]} `))
    if (group.length > 0 && (args.length === 1 || isHelp(args[1]))) {
      terminal.out(overview(group))
      return args.length === 1 ? 2 : 0
    }
    terminal.err(`cairn: there is no command '${args.slice(0, group.length > 0 ? 2 : 1).join(' ')}': see cairn --help`)
    return 2
  }
  try {
    const { words, values } = parseWords(command, args.slice(command.name.split(' ').length))
    if (values['help']) {
      terminal.out(helpOf(command))
      return 0
    }
    return await command.run(terminal, words, values)
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.err(`cairn: ${error.message}\nusage: ${usageOf(command)}`)
      return 2
    }
    terminal.err(`cairn: ${describe(error)}`)
    return 1
  }
}

/** An expected complaint in its own words; anything else with where it came from. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (!(error instanceof HubError)) return error.stack ?? error.message
  return error.cause instanceof Error && error.cause.message !== error.message ? `${error.message} (${error.cause.message})` : error.message
}

const usageOf = ({ name, takes }: Command): string => ['cairn', name, takes].filter((part) => part !== '').join(' ')

const usageWidth = 62
/** What takes more than its column has its summary below. */
const lineOf = (usage: string, summary: string): string =>
  usage.length <= usageWidth ? `  ${usage.padEnd(usageWidth)} ${summary}` : `  ${usage}\n  ${' '.repeat(usageWidth)} ${summary}`

const overview = (listed: readonly Command[]): string =>
  [
    'usage: cairn <command> …',
    '',
    ...listed.map((command) => lineOf(usageOf(command).slice('cairn '.length), command.summary)),
    '',
    'cairn <command> --help says more. Commands that talk to a hub find it by CAIRN_URL (default http://CAIRN_HOST:CAIRN_PORT)',
    'and CAIRN_TOKEN (default the file <CAIRN_DATA>/admin-token).',
  ].join('\n')

const helpOf = (command: Command): string =>
  [`usage: ${usageOf(command)}`, '', command.summary, ...(command.details ? ['', ...command.details] : [])].join('\n')
