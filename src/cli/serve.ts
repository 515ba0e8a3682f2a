import { loadConfig, type Config } from '../config/config.js'
import type { Command, Terminal } from './command.js'
import { hubUrl } from './client.js'
import { settingsHelp, settingsOptions, withFlags } from './settings-flags.js'

/** Beyond the grace for requests, closing the database and all else may take this long. */
const closeBoundMs = 30_000

export const serveCommand: Command = {
  name: 'serve',
  takes: '[--SETTING VALUE …]',
  summary: 'run the hub',
  details: settingsHelp,
  options: settingsOptions,
  words: 0,
  run: ({ env, ...terminal }, _words, values) => serve(loadConfig(withFlags(env, values)), { env, ...terminal }),
}

/** Runs until a signal stops it. Comes back with the exit code. */
async function serve(config: Config, terminal: Terminal): Promise<number> {
  const [{ createServices }, { buildApp }, { createLogger, readableLines }, { createShutdown, stopOnSignals }] = await Promise.all([
    import('../server/services.js'),
    import('../server/app.js'),
    import('../server/logger.js'),
    import('../server/shutdown.js'),
  ])
  // JSON for collectors; on a terminal, lines for the person in front of it.
  const logger = process.stdout.isTTY ? createLogger({ destination: readableLines(terminal.out) }) : createLogger()
  const log = (fields: object, phrase: string) => ('err' in fields ? logger.error(fields, phrase) : logger.info(fields, phrase))

  // A signal during the start is kept until there is something to stop: what starts a database must also see it end.
  let asked = 0
  const early = () => {
    if (asked++ > 0) process.exit(130)
  }
  process.on('SIGINT', early).on('SIGTERM', early)
  let lost = false
  const services = await createServices(config, log, (error) => {
    lost = true
    log({ err: error }, 'another hub has the place of this one')
    process.kill(process.pid, 'SIGTERM')
  })
  const app = buildApp(services, { ...config, logger })
  const shutdown = createShutdown({ app, closeServices: services.close, closeGraceMs: config.closeGraceMs, log })
  try {
    if (asked === 0) await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    await shutdown.stop()
    throw error
  }
  const ended = new Promise<number>((resolve) => {
    stopOnSignals(shutdown, {
      boundMs: config.closeGraceMs + closeBoundMs,
      onStopped(error) {
        if (error === undefined) return resolve(lost ? 1 : 0)
        log({ err: error }, 'stopped badly')
        process.exit(1) // something does not let go
      },
    })
  })
  services.startJobs().catch((error: unknown) => log({ err: error }, 'the hub does nothing by itself: its jobs did not start'))
  process.off('SIGINT', early).off('SIGTERM', early)
  if (asked > 0) {
    await shutdown.stop()
    return 0
  }
  const address = app.server.address()
  greet(terminal, { ...config, port: typeof address === 'object' && address ? address.port : config.port }, services.secrets)
  return ended
}

function greet({ out }: Terminal, config: Config, secrets: { readonly adminTokenPath: string | undefined; readonly firstStart: boolean }): void {
  const url = config.publicUrl?.replace(/\/+$/, '') ?? hubUrl({ CAIRN_HOST: config.host, CAIRN_PORT: String(config.port) })
  out(`cairn listens at ${url}`)
  if (!secrets.firstStart || secrets.adminTokenPath === undefined) return
  const clone = url.replace('://', `://admin:$(cat ${secrets.adminTokenPath})@`)
  out(
    [
      '',
      `The user admin was made. Its token is in ${secrets.adminTokenPath}`,
      '',
      'In another terminal:',
      '  npx cairn repo create admin/tiny-bert',
      `  git clone ${clone}/admin/tiny-bert`,
      '  cd tiny-bert, commit, git push',
      '',
      'To bring an old history along:',
      '  npx cairn repo create admin/history --empty',
      `  git push --mirror ${clone}/admin/history`,
      '',
    ].join('\n'),
  )
}
