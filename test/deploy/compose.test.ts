/** `deploy/compose.yaml` as compose itself reads it, and as the files beside it need it. No container engine takes part. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/config.js'
import { closeBoundSeconds, notSettings, readDeploy } from '../support/deploy.js'
import { freePort, projectRoot } from '../support/hub.js'
import { goProgram } from '../support/tools/go-install.js'
import { findTool, runTool } from '../support/tools/run-tool.js'

interface Service {
  readonly image: string
  readonly build?: { readonly context: string; readonly dockerfile?: string }
  readonly restart: string
  readonly environment?: Readonly<Record<string, string>>
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean }
  readonly deploy: { readonly resources: { readonly limits: { readonly cpus: string; readonly memory: string } } }
  readonly networks: { readonly cairn: { readonly ipv4_address: string } }
  readonly stop_grace_period?: string
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
}

const source = readDeploy('compose.yaml')
const example = Object.fromEntries([...readDeploy('.env.example').matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]))
/** What a person fills in. */
const secrets = {
  CAIRN_ADMIN_TOKEN: `hf_${'a'.repeat(34)}`,
  CAIRN_SECRET_KEY: 's'.repeat(64),
  POSTGRES_PASSWORD: 'p'.repeat(48),
  CAIRN_S3_ACCESS_KEY: 'k'.repeat(16),
  CAIRN_S3_SECRET_KEY: 'q'.repeat(48),
}
const variable = /\$\{(\w+)(?::([-?])([^}]*))?\}/g
const filled = interpolate(source, { ...example, ...secrets })
const { services, volumes } = parse(filled, { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}
const hubs = ['hub-1', 'hub-2'] as const

/** `${NAME}`, `${NAME:-default}`, `${NAME:?complaint}`, as compose does it. */
function interpolate(file: string, env: Readonly<Record<string, string>>): string {
  return file.replaceAll(variable, (_all, name: string, kind: string | undefined, words: string | undefined) => {
    if (env[name]) return env[name]
    if (kind === '-') return words ?? ''
    throw new Error(`${name} is missing: ${words}`)
  })
}

/** The Dockerfile that makes a service's image. */
const dockerfileOf = ({ build }: Service): string | undefined =>
  build && readFileSync(join(projectRoot, 'deploy', build.context, build.dockerfile ?? 'Dockerfile'), 'utf8')

// What `docker compose config` runs, without docker. Its command line hands no environment to the interpolation.
const composeGo = await findTool('compose-go', () =>
  goProgram({ name: 'cmd', packagePath: 'github.com/compose-spec/compose-go/v2/cmd', version: 'v2.16.2' }),
)

t.test("compose's own reader takes the file", { skip: composeGo.missing }, async (t) => {
  const read = async (name: string, content: string) => {
    const folder = join(t.testdir(), name)
    mkdirSync(folder)
    writeFileSync(join(folder, 'compose.yaml'), content)
    const printed = await runTool(composeGo.tool!, ['-format', 'json', 'compose.yaml'], { cwd: folder })
    return JSON.parse(printed) as { readonly services: object }
  }
  t.same(Object.keys((await read('ours', filled)).services).toSorted(), ['bucket', 'hub-1', 'hub-2', 'minio', 'nginx', 'postgres'])
  await t.rejects(read('typo', filled.replace('healthcheck:', 'healthchecks:')), /healthchecks/, 'and it does look')
  await t.rejects(read('number', filled.replace("cpus: '4'", 'cpus: [4]')), /cpus/)
})

t.test('the example names every variable, and holds no secret', async (t) => {
  const used = new Set([...source.matchAll(variable)].map(([, name]) => name!))
  t.same(Object.keys(example).toSorted(), [...used].toSorted())
  for (const name of Object.keys(secrets)) {
    t.equal(example[name], '', name)
    t.throws(() => interpolate(source, { ...example, ...secrets, [name]: '' }), new RegExp(`${name} is missing`))
  }
  t.match(readFileSync(join(projectRoot, '.gitignore'), 'utf8'), /^\.env$/m)
})

t.test('every setting is one, and the hub reads it', async (t) => {
  for (const [name, { environment = {} }] of Object.entries(services)) t.same(notSettings(Object.keys(environment)), [], name)
  const { nginx, 'hub-1': first, 'hub-2': second } = services
  t.same(first!.environment, second!.environment, 'replicas are the same')
  const config = loadConfig(first!.environment!)
  t.same(config.trustedProxies, [nginx!.networks.cairn.ipv4_address])
  t.equal(config.publicUrl, 'http://hub.example.com')
  t.match(config.s3, { endpoint: 'http://minio:9000', publicEndpoint: 'http://minio:9000', bucket: 'cairn', region: 'us-east-1' })
  t.same([config.cacheDirectory, config.spoolDirectory], ['/data/cache', '/data/spool'])
  const limit = Number(/^(\d+)g$/.exec(first!.deploy.resources.limits.memory)![1]) * 2 ** 30
  t.ok(limit >= 2 * (config.ingestBytes + config.tableBytes + config.answerBytes), 'memory')
  t.ok(Number(/^(\d+)s$/.exec(first!.stop_grace_period!)![1]) > config.closeGraceMs / 1000 + closeBoundSeconds, 'time to stop')
})

t.test('services find each other where they listen', async (t) => {
  const { environment = {} } = services['hub-1']!
  const servers = [...readDeploy('nginx.conf').matchAll(/^ {2}server (\S+) .*;$/gm)].map(([, server]) => server)
  t.same(
    servers,
    hubs.map((name) => `${name}:8080`),
  )
  for (const name of hubs) t.match(dockerfileOf(services[name]!), /^EXPOSE 8080$/m)
  t.same(services['nginx']!.ports, ['80:80'])
  t.match(readDeploy('nginx.conf'), /^ {2}listen 80;$/m)
  t.same(services['nginx']!.volumes, ['./nginx.conf:/etc/nginx/conf.d/default.conf:ro'])
  const { hostname, port, username, pathname } = new URL(environment['DATABASE_URL']!)
  t.same([hostname, port, username, pathname], ['postgres', '5432', 'cairn', '/cairn'])
  t.match(services['postgres']!.environment, { POSTGRES_USER: 'cairn', POSTGRES_DB: 'cairn', POSTGRES_PASSWORD: secrets.POSTGRES_PASSWORD })
  t.equal(environment['CAIRN_S3_ENDPOINT'], 'http://minio:9000')
  t.match(dockerfileOf(services['minio']!), /^EXPOSE 9000$/m)
  for (const name of ['CAIRN_S3_ENDPOINT', 'CAIRN_S3_BUCKET', 'CAIRN_S3_REGION', 'CAIRN_S3_ACCESS_KEY', 'CAIRN_S3_SECRET_KEY'])
    t.equal(services['bucket']!.environment![name], environment[name], name)
  const named = Object.values(services).flatMap(({ volumes: mounts = [] }) =>
    mounts.filter((mount) => !mount.startsWith('.')).map((m) => m.split(':')[0]!),
  )
  t.same(named.toSorted(), Object.keys(volumes).toSorted(), 'each has a volume of its own')
})

t.test('what is waited for says when it is healthy; what runs has limits and comes back', async (t) => {
  const waited = Object.values(services).flatMap(({ depends_on: on = {} }) => Object.entries(on))
  t.ok(waited.length >= 8)
  for (const [name, { condition }] of waited) {
    const service = services[name]
    if (!service) t.fail(`${name} is no service`)
    else if (condition === 'service_completed_successfully') t.equal(service.restart, 'no', name)
    else t.ok(service.healthcheck?.test ?? /^HEALTHCHECK .*CMD /m.test(dockerfileOf(service) ?? ''), `${name} has a health check`)
  }
  for (const [name, { restart, deploy, healthcheck }] of Object.entries(services)) {
    t.match(deploy.resources.limits, { cpus: /^\d+$/, memory: /^\d+[mg]$/ }, name)
    if (name === 'bucket') continue
    t.equal(restart, 'unless-stopped', name)
    t.notOk(healthcheck?.disable, name)
  }
})

const [, minioPackage = '', minioVersion = ''] = /go install -trimpath (\S+)@(\S+)$/m.exec(readDeploy('minio.Dockerfile')) ?? []
const minio = await findTool('MinIO', () => goProgram({ name: 'minio', packagePath: minioPackage, version: minioVersion }))

t.test('the one-shot makes the bucket, leaves it as it is the next time, and says when it cannot', { skip: minio.missing }, async (t) => {
  const { endpoint, stop } = await startMinio(t, minio.tool!)
  const environment = { ...services['bucket']!.environment!, CAIRN_S3_ENDPOINT: endpoint }
  const make = async (env: Readonly<Record<string, string>> = {}) => {
    const child = spawn('sh', [join(projectRoot, 'deploy', 'make-bucket.sh')], { env: { PATH: process.env['PATH']!, ...environment, ...env } })
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: code as number, said: out + err }
  }
  t.same(await make(), { code: 0, said: 'the bucket cairn is there\n' })
  t.same(await make(), { code: 0, said: 'the bucket cairn is there\n' })
  t.same(await make({ CAIRN_S3_SECRET_KEY: 'wrong' }), { code: 1, said: `the bucket cairn is not there: ${endpoint} answered with 403\n` })
  await stop()
})

async function startMinio(t: Test, program: string) {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const { environment = {} } = services['minio']!
  const child = spawn(program, ['server', '--quiet', '--address', `127.0.0.1:${port}`, t.testdir()], {
    env: { PATH: process.env['PATH']!, HOME: t.testdirName, ...environment },
    stdio: 'ignore',
  })
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
  }
  t.teardown(stop)
  const [, check = ''] = /^HEALTHCHECK .*CMD (\[.*\])$/m.exec(readDeploy('minio.Dockerfile')) ?? []
  const [curl, ...args] = (JSON.parse(check) as string[]).map((word) => word.replace('http://127.0.0.1:9000', endpoint))
  const deadline = performance.now() + 60_000
  const healthy = () =>
    runTool(curl!, args).then(
      () => true,
      () => false,
    )
  while (!(await healthy())) {
    if (performance.now() > deadline || child.exitCode !== null) throw new Error('MinIO is not healthy by the check of its image')
    await delay(200)
  }
  return { endpoint, stop }
}
