import { spawnSync } from 'node:child_process'
import { startTestServer } from './postgres.js'

export interface Shared {
  /** For the test processes. */
  readonly env: Readonly<Record<string, string>>
  stop(): Promise<void>
}

interface BringUpOptions {
  readonly log: (line: string) => void
}

/** Programs that tests start, and the Debian package each comes from. */
const programs: readonly (readonly [program: string, packageName: string])[] = [
  ['git', 'git'],
  ['git-lfs', 'git-lfs'],
  ['chromium', 'chromium'],
  ['curl', 'curl'],
  ['strace', 'strace'],
  ['script', 'bsdutils'],
  ['setpriv', 'util-linux'],
  ['openssl', 'openssl'],
  ['pgbouncer', 'pgbouncer'],
  ['pgrep', 'procps'],
  ['openssl', 'openssl'],
  ['mvn', 'maven'],
  ['javac', 'default-jdk-headless'],
]

/** Of an object store. What its packages recommend is twice as much as they are. */
const storePrograms: typeof programs = [
  ['swift-proxy-server', 'swift-proxy'],
  ['swift-account-server', 'swift-account'],
  ['swift-container-server', 'swift-container'],
  ['swift-object-server', 'swift-object'],
  ['memcached', 'memcached'],
]

/** Brings up what the tests share, and says what that is and how long it took. */
export async function bringUp({ log }: BringUpOptions): Promise<Shared> {
  await timed(log, 'programs', async () => {
    installMissing(log, programs)
    installMissing(log, storePrograms, ['--no-install-recommends'])
  })
  const server = await timed(log, 'PostgreSQL for tests', startTestServer)
  return { env: { CAIRN_TEST_DATABASE: server.url }, stop: () => server.stop() }
}

async function timed<T>(log: BringUpOptions['log'], what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now()
  const result = await work()
  log(`up   ${what}  ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return result
}

const isThere = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

/** As root where there is apt-get; elsewhere the tests that need them are skipped, and say so. */
function installMissing(log: BringUpOptions['log'], wanted: typeof programs, options: readonly string[] = []): void {
  const missing = wanted.filter(([program]) => !isThere(program))
  if (missing.length === 0) return
  const packages = missing.map(([, name]) => name)
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    log(`missing ${missing.map(([program]) => program).join(', ')}: install ${packages.join(' ')}; tests that need them are skipped`)
    return
  }
  log(`installing ${packages.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  spawnSync('apt-get', ['update', '-qq'], { env, stdio: 'ignore' })
  const { status, stderr } = spawnSync('apt-get', ['install', '-y', '-qq', ...options, ...packages], { env, encoding: 'utf8' })
  if (status !== 0) log(`apt-get install ended with ${status}: ${stderr}`)
}
