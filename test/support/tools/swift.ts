import { mkdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../hub.js'
import { findTool, runTool } from './run-tool.js'
import { startS3Server, type S3Program, type ServerProcess } from './s3-server.js'

/** Its own way to name who asks: account and user. */
const keys = { accessKey: 'cairn:test', secretKey: 'cairn-test-secret' }
const kinds = ['account', 'container', 'object'] as const
type Kind = (typeof kinds)[number]

/** OpenStack Swift with its S3 filter, as Debian has it: one disk, one copy. */
export async function findSwift(): Promise<S3Program> {
  const found = await findTool('Swift', async () => {
    for (const kind of kinds) await runTool('sh', ['-c', `command -v swift-${kind}-server`])
    await runTool('sh', ['-c', 'command -v memcached'])
    const version = (await runTool('dpkg-query', ['--showformat', '${Version}', '--show', 'swift-proxy'])).replace(/-.*$/, '')
    const start: NonNullable<S3Program['found']['tool']>['start'] = async (t) => {
      const [proxy, cache] = [await freePort(), await freePort()]
      const ports = { account: await freePort(), container: await freePort(), object: await freePort() }
      return startS3Server(t, {
        endpoint: `http://127.0.0.1:${proxy}`,
        keys,
        async processes(folder) {
          await mkdir(join(folder, 'devices', 'd1'), { recursive: true })
          await Promise.all(kinds.map((kind) => makeRing(folder, kind, ports[kind])))
          const servers = await Promise.all(kinds.map((kind) => configured(folder, kind, serverSettings(folder, kind, ports[kind]))))
          const memcached = { program: 'memcached', args: ['-l', '127.0.0.1', '-p', String(cache), '-U', '0', '-u', userInfo().username] }
          return [memcached, ...servers, await configured(folder, 'proxy', proxySettings(folder, proxy, cache))]
        },
      })
    }
    return { version, start }
  })
  return { name: 'Swift', slug: 'swift', found }
}

/** Where everything is: in one place. */
async function makeRing(folder: string, kind: Kind, port: number): Promise<void> {
  const builder = join(folder, `${kind}.builder`)
  await runTool('swift-ring-builder', [builder, 'create', '1', '1', '0'])
  await runTool('swift-ring-builder', [builder, 'add', `r1z1-127.0.0.1:${port}/d1`, '1'])
  await runTool('swift-ring-builder', [builder, 'rebalance'])
}

async function configured(folder: string, kind: Kind | 'proxy', settings: string): Promise<ServerProcess> {
  const path = join(folder, `${kind}.conf`)
  await writeFile(path, settings)
  return { program: `swift-${kind}-server`, args: [path, '-v'] }
}

const common = (folder: string, port: number): string => `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = ${userInfo().username}
swift_dir = ${folder}
`

const serverSettings = (folder: string, kind: Kind, port: number): string => `${common(folder, port)}devices = ${join(folder, 'devices')}
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = ${kind}-server
[app:${kind}-server]
use = egg:swift#${kind}
`

const proxySettings = (folder: string, port: number, cache: number): string => `${common(folder, port)}[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${cache}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_cairn_test = ${keys.secretKey} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
max_manifest_size = 16777216
[filter:dlo]
use = egg:swift#dlo
`
