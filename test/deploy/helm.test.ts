/** The Helm chart as helm renders it, checked by Kubernetes' own schemas and against what the hub reads and answers. No cluster takes part. */
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { loadConfig, settingsTable } from '../../src/config/config.js'
import { closeBoundSeconds, notSettings, readDeploy } from '../support/deploy.js'
import { projectRoot } from '../support/hub.js'
import { serveHub } from '../support/served-hub.js'
import { cachedFolder } from '../support/tools/cached-folder.js'
import { goProgram } from '../support/tools/go-install.js'
import { findTool, runTool } from '../support/tools/run-tool.js'

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
  readonly timeoutSeconds?: number
}

interface EnvVar {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string; readonly optional?: boolean } }
}

interface Container {
  readonly image: string
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly env: readonly EnvVar[]
  readonly startupProbe: Probe
  readonly readinessProbe: Probe
  readonly livenessProbe: Probe
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } }
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
  readonly resources: object
  readonly securityContext: object
}

interface Pod {
  readonly enableServiceLinks: boolean
  readonly terminationGracePeriodSeconds: number
  readonly containers: readonly [Container]
  readonly volumes: readonly { readonly name: string; readonly emptyDir: { readonly sizeLimit: string } }[]
}

interface Rendered {
  readonly kind: string
  readonly apiVersion: string
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> }
  readonly spec: unknown
}

interface Deployment extends Rendered {
  readonly spec: {
    readonly replicas: number
    readonly selector: { readonly matchLabels: object }
    readonly template: { readonly metadata: { readonly labels: object }; readonly spec: Pod }
  }
}

const helmVersion = 'v3.22.0'
const validatorVersion = '1.37.0'
/** The oldest and a new one, both in the validator. */
const kubernetesVersions = ['1.25', '1.37']
// Built without its makers' flags helm takes the cluster for an ancient one.
const cluster = ['--kube-version', '1.37.0']

const helm = await findTool('helm', () => goProgram({ name: 'helm', packagePath: 'helm.sh/helm/v3/cmd/helm', version: helmVersion }))
/** With Kubernetes' schemas in the package: nothing is fetched when it runs. */
const validator = await findTool('kubernetes-validate', () =>
  cachedFolder(`kubernetes-validate-${validatorVersion}`, async (folder) => {
    await runTool('python3', ['-m', 'pip', 'install', '--quiet', '--target', folder, `kubernetes-validate==${validatorVersion}`])
  }),
)
const skip = helm.missing

const needed = { publicUrl: 'https://hub.example.com', s3: { endpoint: 'http://minio.storage:9000' } }
const full = {
  ...needed,
  publicUrl: 'https://hub.example.com:8443/models/',
  image: { repository: 'registry.example.com/cairn', tag: 'abc', pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'registry' }],
  replicas: 5,
  trustedProxies: ['10.0.0.0/8', '192.168.0.1'],
  existingSecret: 'hub-secrets',
  s3: { endpoint: 'https://s3.example.com', publicEndpoint: 'https://files.example.com', bucket: 'models', region: 'eu-central-1' },
  transfer: 'direct',
  cache: { gib: 50 },
  spool: { gib: 20 },
  settings: { CAIRN_RETENTION_DAYS: '30', CAIRN_WORKERS: '4' },
  resources: { requests: { cpu: '2', memory: '4Gi' }, limits: { memory: '8Gi' } },
  drainSeconds: 25,
  service: { type: 'LoadBalancer', port: 8081, annotations: { 'example.com/a': 'b' } },
  ingress: { enabled: true, className: 'internal', tlsSecret: 'hub-tls' },
  podDisruptionBudget: { maxUnavailable: 2 },
  podAnnotations: { 'example.com/c': 'd' },
  nodeSelector: { disk: 'ssd' },
  tolerations: [{ key: 'hubs', operator: 'Exists' }],
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] },
    },
  },
}

const chart = join(projectRoot, 'deploy', 'helm', 'cairn')

async function render(t: Test, values: object, release = 'hub') {
  const file = join(t.testdir(), 'values.json')
  await writeFile(file, JSON.stringify(values))
  const printed = await runTool(helm.tool!, ['template', release, chart, '--namespace', 'models', '--values', file, ...cluster])
  const objects = parseAllDocuments(printed).map((document) => document.toJS() as Rendered)
  const get = (kind: string) => objects.find((object) => object.kind === kind)!
  const deployment = get('Deployment') as Deployment
  const pod = deployment.spec.template.spec
  const [container] = pod.containers
  const env = Object.fromEntries(container.env.map(({ name, value }) => [name, value]))
  return { printed, objects, get, deployment, pod, container, env }
}

/** With what the secret would hold. */
const withSecrets = (env: Readonly<Record<string, string | undefined>>) =>
  loadConfig({
    ...Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))),
    DATABASE_URL: 'postgresql://db/cairn',
    CAIRN_ADMIN_TOKEN: `hf_${'a'.repeat(34)}`,
    CAIRN_SECRET_KEY: 's'.repeat(32),
    CAIRN_S3_ACCESS_KEY: 'key',
    CAIRN_S3_SECRET_KEY: 'secret',
  })

for (const [what, values] of [
  ['with what is needed', needed],
  ['with everything', full],
] as const) {
  t.test(`${what}: Kubernetes would take the objects`, { skip: skip || validator.missing }, async (t) => {
    const { printed } = await render(t, values)
    const path = join(t.testdirName, 'rendered.yaml')
    const validate = async (text: string, version: string) => {
      await writeFile(path, text)
      return runTool(join(validator.tool!, 'bin', 'kubernetes-validate'), ['--strict', '--kubernetes-version', version, path], {
        env: { ...(process.env as Record<string, string>), PYTHONPATH: validator.tool! },
      })
    }
    for (const version of kubernetesVersions) await t.resolves(validate(printed, version), version)
    await t.rejects(validate(printed.replace('readinessProbe', 'readynessProbe'), '1.37'), /readynessProbe/, 'and it does look')
  })

  t.test(`${what}: every variable is a setting, and the hub reads them`, { skip }, async (t) => {
    const { container, env, pod } = await render(t, values)
    const names = container.env.map(({ name }) => name)
    t.same(notSettings(names), [])
    t.equal(new Set(names).size, names.length, 'none twice')
    for (const { name, value, valueFrom } of container.env) {
      t.ok(settingsTable.some((setting) => setting.name === name))
      t.equal(value === undefined, valueFrom !== undefined, name)
    }
    const secret = 'existingSecret' in values ? 'hub-secrets' : 'cairn'
    t.same(
      container.env.flatMap(({ name, valueFrom }) => (valueFrom ? [[name, valueFrom.secretKeyRef]] : [])),
      ['DATABASE_URL', 'CAIRN_ADMIN_TOKEN', 'CAIRN_SECRET_KEY', 'CAIRN_S3_ACCESS_KEY', 'CAIRN_S3_SECRET_KEY', 'DATABASE_DIRECT_URL'].map((key) => [
        key,
        { name: secret, key, ...(key === 'DATABASE_DIRECT_URL' ? { optional: true } : {}) },
      ]),
    )
    const config = withSecrets(env)
    t.equal(config.s3?.endpoint, values.s3.endpoint)
    t.equal(config.transfer, 'transfer' in values ? 'direct' : 'proxy')
    t.same([config.host, config.port], ['0.0.0.0', container.ports[0]!.containerPort])
    // A volume over its limit costs the pod: each holds what the hub allows itself. Pushes and forms have the spool's room each.
    const limit = (name: string) => Number(/^(\d+)Gi$/.exec(pod.volumes.find((volume) => volume.name === name)!.emptyDir.sizeLimit)![1]) * 2 ** 30
    t.ok(limit('cache') > config.cacheBytes)
    t.ok(limit('spool') > 2 * config.spoolBytes)
    t.same(Object.fromEntries(container.volumeMounts.map(({ name, mountPath }) => [name, mountPath])), {
      data: config.dataDirectory,
      cache: config.cacheDirectory,
      spool: config.spoolDirectory,
    })
    t.ok(
      pod.terminationGracePeriodSeconds > Number(container.lifecycle.preStop.exec.command[1]) + config.closeGraceMs / 1000 + closeBoundSeconds,
      'time to drain and to stop',
    )
  })
}

t.test('what stands there with what is needed', { skip }, async (t) => {
  const { objects, get, deployment, pod, container, env } = await render(t, needed)
  t.same(objects.map(({ kind, metadata: { name } }) => `${kind} ${name}`).toSorted(), [
    'Deployment hub-cairn',
    'PodDisruptionBudget hub-cairn',
    'Service hub-cairn',
  ])
  t.match(deployment.spec, { replicas: 2, strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } } })
  const selector = { 'app.kubernetes.io/name': 'cairn', 'app.kubernetes.io/instance': 'hub' }
  t.same(deployment.spec.selector.matchLabels, selector)
  t.match(deployment.spec.template.metadata.labels, selector)
  t.same(get('Service').spec, { type: 'ClusterIP', selector, ports: [{ name: 'http', port: 80, targetPort: 'http' }] })
  t.same(get('PodDisruptionBudget').spec, { maxUnavailable: 1, selector: { matchLabels: selector } })
  t.same(container.ports, [{ name: 'http', containerPort: 8080 }])
  t.match(readFileSync(join(projectRoot, 'Dockerfile'), 'utf8'), /^EXPOSE 8080$/m)
  t.equal(pod.enableServiceLinks, false, 'a service called cairn sets CAIRN_PORT elsewhere')
  t.match(pod, {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 80,
    securityContext: { runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: { type: 'RuntimeDefault' } },
  })
  t.same(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
  t.equal(env['CAIRN_PUBLIC_URL'], 'https://hub.example.com')
  t.notOk('CAIRN_TRUSTED_PROXIES' in env || 'CAIRN_S3_PUBLIC_ENDPOINT' in env, 'what is not given is not set')
})

t.test('the values reach the places they are for', { skip }, async (t) => {
  const { get, deployment, pod, container, env } = await render(t, full)
  t.equal(deployment.spec.replicas, 5)
  t.equal(container.image, 'registry.example.com/cairn:abc')
  t.match(env, {
    CAIRN_PUBLIC_URL: 'https://hub.example.com:8443/models',
    CAIRN_TRUSTED_PROXIES: '10.0.0.0/8,192.168.0.1',
    CAIRN_S3_ENDPOINT: 'https://s3.example.com',
    CAIRN_S3_PUBLIC_ENDPOINT: 'https://files.example.com',
    CAIRN_S3_BUCKET: 'models',
    CAIRN_S3_REGION: 'eu-central-1',
    CAIRN_TRANSFER: 'direct',
    CAIRN_CACHE_BYTES: '50GiB',
    CAIRN_SPOOL_BYTES: '20GiB',
    CAIRN_RETENTION_DAYS: '30',
  })
  t.equal(pod.terminationGracePeriodSeconds, 95)
  t.same(container.resources, full.resources)
  t.match(pod, { nodeSelector: full.nodeSelector, tolerations: full.tolerations, affinity: full.affinity, imagePullSecrets: full.imagePullSecrets })
  t.same(get('PodDisruptionBudget').spec, { maxUnavailable: 2, selector: { matchLabels: deployment.spec.selector.matchLabels } })
  const ingress = get('Ingress')
  t.match(ingress.spec, {
    ingressClassName: 'internal',
    tls: [{ hosts: ['hub.example.com'], secretName: 'hub-tls' }],
    rules: [
      {
        host: 'hub.example.com',
        http: { paths: [{ path: '/models', pathType: 'Prefix', backend: { service: { name: 'hub-cairn', port: { name: 'http' } } } }] },
      },
    ],
  })
  const annotation = 'nginx.ingress.kubernetes.io/'
  t.same(ingress.metadata.annotations, {
    [`${annotation}proxy-body-size`]: '0',
    [`${annotation}proxy-request-buffering`]: 'off',
    [`${annotation}proxy-buffering`]: 'off',
    [`${annotation}proxy-max-temp-file-size`]: '0',
    [`${annotation}proxy-http-version`]: '1.1',
    [`${annotation}proxy-read-timeout`]: '3600',
    [`${annotation}proxy-send-timeout`]: '3600',
  })
})

t.test('the certificate of a private authority is where the hub looks for it', { skip }, async (t) => {
  const { pod, container, env } = await render(t, { ...needed, s3: { ...needed.s3, caConfigMap: 'company-ca' } })
  t.match(pod.volumes.at(-1), { name: 's3-ca', configMap: { name: 'company-ca', items: [{ key: 'ca.crt', path: 'ca.crt' }] } })
  t.match(container.volumeMounts.at(-1), { name: 's3-ca', mountPath: '/etc/cairn/s3' })
  t.equal(env['CAIRN_S3_CA_FILE'], '/etc/cairn/s3/ca.crt')
})

t.test('the probes are answered by a hub', { skip }, async (t) => {
  const { container } = await render(t, needed)
  const hub = await serveHub(t)
  const { startupProbe, readinessProbe, livenessProbe } = container
  t.same(
    [startupProbe, readinessProbe, livenessProbe].map(({ httpGet }) => httpGet.path),
    ['/healthz', '/readyz', '/healthz'],
  )
  for (const { httpGet } of [startupProbe, readinessProbe, livenessProbe]) {
    t.equal(httpGet.port, container.ports[0]!.name)
    // As the kubelet asks: by the pod's address, which no setting names.
    const status = await runTool('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Host: 10.1.2.3:8080', hub.url + httpGet.path])
    t.equal(status, '200')
  }
  // The hub itself takes up to 3 s to say that a part is away.
  t.ok(readinessProbe.timeoutSeconds! > 3)
})

t.test('what is missing or misspelt is said', { skip }, async (t) => {
  await t.rejects(render(t, {}), /publicUrl is needed/)
  await t.rejects(render(t, { publicUrl: needed.publicUrl }), /s3\.endpoint is needed/)
  await t.rejects(render(t, { ...needed, publicURL: 'https://x.example' }), /publicURL/)
  await t.rejects(render(t, { ...needed, settings: { CAIRN_WORKERS: 4 } }), /CAIRN_WORKERS/)
  await t.rejects(render(t, { ...needed, transfer: 'both' }), /transfer/)
})

t.test('the chart is of this version, and lints', { skip }, async (t) => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string }
  const about = readDeploy('helm', 'cairn', 'Chart.yaml')
  t.match(about, `\nversion: ${version}\n`)
  t.match(about, `\nappVersion: ${version}\n`)
  const { container } = await render(t, needed)
  t.equal(container.image, `cairn:${version}`)
  const file = join(t.testdirName, 'values.json')
  t.ok(existsSync(file))
  await t.resolves(runTool(helm.tool!, ['lint', '--strict', chart, '--values', file, ...cluster]))
})
