import { pino, type Logger } from 'pino'

/** Where secrets stand in what is logged. The one list. */
const secretPaths = [
  'authorization',
  'cookie',
  'password',
  'token',
  'secret',
  'secretKey',
  'connectionString',
  '*.authorization',
  '*.cookie',
  '*.password',
  '*.token',
  '*.secret',
  '*.secretKey',
  '*.connectionString',
  'req.headers.authorization',
  'req.headers.cookie',
  'headers.authorization',
  'headers.cookie',
  'headers["set-cookie"]',
  'res.headers["set-cookie"]',
  'err.connection',
  'err.client',
]

/** JSON leaves these as they are, and a terminal that shows the log may obey them. They stand within strings only. */
const escapeControls = (line: string): string =>
  line.replace(/[\x7f-\x9f\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

interface Destination {
  write(line: string): void
}

/** JSON lines to the given destination. */
export function createLogger({ level = 'info', destination }: { readonly level?: string; readonly destination?: Destination } = {}): Logger {
  const options = {
    level,
    base: null,
    redact: { paths: secretPaths, censor: '[redacted]' },
    timestamp: pino.stdTimeFunctions.isoTime,
    hooks: { streamWrite: escapeControls },
  }
  return destination ? pino(options, destination) : pino(options)
}

/** Clients choose what some fields say, and a terminal must not obey it. */
const printable = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
const printableLines = (text: string): string => text.split('\n').map(printable).join('\n')

const levelNames: Readonly<Record<number, string>> = { 40: 'warning: ', 50: 'error: ', 60: 'fatal: ' }

/** The same lines for somebody who reads along: time, phrase, fields. */
export function readableLines(print: (text: string) => void): Destination {
  return {
    write(line) {
      const { level, time, msg, err, ...fields } = JSON.parse(line) as {
        level: number
        time: string
        msg?: string
        err?: { stack?: string; message?: string }
      }
      const facts = Object.entries(fields)
        .filter(([name]) => name !== 'request')
        .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
      const trace = err ? printableLines(`\n${err.stack ?? err.message ?? ''}`) : ''
      print(printable(`${time.slice(11, 19)} ${levelNames[level] ?? ''}${msg ?? ''} ${facts.join(' ')}`).trimEnd() + trace)
    },
  }
}
