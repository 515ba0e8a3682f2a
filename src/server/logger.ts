import { pino, type Logger } from 'pino'

/** Where secrets stand in what is logged. The one list. */
const secretPaths = [
  'authorization', 'cookie', 'password', 'token', 'secret', 'secretKey', 'connectionString',
  '*.authorization', '*.cookie', '*.password', '*.token', '*.secret', '*.secretKey', '*.connectionString',
  'req.headers.authorization', 'req.headers.cookie', 'headers.authorization', 'headers.cookie', 'headers["set-cookie"]', 'res.headers["set-cookie"]',
  'err.connection', 'err.client',
]

/** JSON lines on the given stream; on stdout by default. */
export function createLogger({ level = 'info', destination }: { readonly level?: string, readonly destination?: { write(line: string): void } } = {}): Logger {
  const options = { level, base: null, redact: { paths: secretPaths, censor: '[redacted]' }, timestamp: pino.stdTimeFunctions.isoTime }
  return destination ? pino(options, destination) : pino(options)
}
