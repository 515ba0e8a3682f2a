import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort, projectRoot } from '../hub.js'
import { cachedFolder } from './cached-folder.js'
import { findTool, runTool, type Found } from './run-tool.js'

export interface Nginx {
  readonly url: string
  /** A line a request, in the format of the file. */
  accessLog(): Promise<string>
  /** From warnings on. */
  errorLog(): Promise<string>
  /** What lies in its folders for bodies and answers it cannot hold. */
  temporaryFiles(): Promise<readonly string[]>
}

export interface NginxOptions {
  readonly program: string
  /** `host:port` that stand for hub-1 and hub-2. */
  readonly hubs: readonly [string, string]
  /** By default any free one. */
  readonly port?: number
  /** Of `deploy/nginx.conf`, to try it otherwise. */
  readonly change?: (site: string) => string
}

interface Teardown {
  teardown(work: () => unknown): void
}

const startTimeoutMs = 20_000
const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'] as const

/** The file that compose mounts and the manual shows. */
export const readSite = (): Promise<string> => readFile(join(projectRoot, 'deploy', 'nginx.conf'), 'utf8')

/** Debian's nginx: the machine's own, or its package unpacked. Installing it would start a server on port 80. */
export function findNginx(): Promise<Found<string>> {
  return findTool('nginx', async () => {
    const own = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find(existsSync)
    if (own !== undefined) return own
    const folder = await cachedFolder('nginx-debian', async (folder) => {
      await runTool('apt-get', ['update', '-qq'])
      await runTool('apt-get', ['download', '-qq', 'nginx'], { cwd: folder })
      for (const file of await readdir(folder)) await runTool('dpkg-deb', ['-x', join(folder, file), folder])
    })
    const program = join(folder, 'usr', 'sbin', 'nginx')
    await runTool(program, ['-v'])
    return program
  })
}

/** `deploy/nginx.conf` on a free port, in an http block as it stands in the image, with other names for what is elsewhere. */
export async function startNginx(t: Teardown, { program, hubs, port = 0, change = (site) => site }: NginxOptions): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-nginx-'))
  const listenPort = port === 0 ? await freePort() : port
  const at = (name: string): string => join(folder, name)
  const site = [
    ['hub-1:8080', hubs[0]],
    ['hub-2:8080', hubs[1]],
    ['listen 80;', `listen 127.0.0.1:${listenPort};`],
    ['/var/log/nginx/access.log', at('access.log')],
  ].reduce(
    (text, [from, to]) => {
      if (text.split(from!).length !== 2) throw new Error(`deploy/nginx.conf says '${from}' not once`)
      return text.replace(from!, to!)
    },
    change(await readSite()),
  )
  await writeFile(at('site.conf'), site)
  await writeFile(
    at('nginx.conf'),
    `daemon off;
pid ${at('pid')};
error_log ${at('error.log')} warn;
worker_processes 2;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 256; }
http {
${temporary.map((name) => `  ${name}_temp_path ${at(name)};`).join('\n')}
  include ${at('site.conf')};
}
`,
  )
  const child = spawn(program, ['-c', at('nginx.conf'), '-e', at('error.log')], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
    await rm(folder, { recursive: true, force: true })
  })
  const url = `http://127.0.0.1:${listenPort}`
  const errorLog = () => readFile(at('error.log'), 'utf8')
  const deadline = performance.now() + startTimeoutMs
  while (
    !(await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`nginx did not start: ${await errorLog()}`)
    await delay(50)
  }
  return {
    url,
    errorLog,
    accessLog: () => readFile(at('access.log'), 'utf8'),
    async temporaryFiles() {
      const entries = await Promise.all(temporary.map((name) => readdir(at(name), { recursive: true, withFileTypes: true })))
      return entries.flat().flatMap((entry) => (entry.isFile() ? [entry.name] : []))
    },
  }
}
