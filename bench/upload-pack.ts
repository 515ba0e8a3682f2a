import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gitEnvironment } from '../test/support/git.js'
import type { Hub } from '../test/support/hub.js'
import { readProbe } from './probed.js'

const run = promisify(execFile)

/** What it cost a server to answer: processor seconds, and resident bytes at most. */
export interface Cost {
  readonly cpuSeconds: number
  readonly maxRss: number
}

export const pkt = (line: string): string => (line.length + 4).toString(16).padStart(4, '0') + line

/** The body of one `fetch`, protocol v2, as git sends it last. `more`: lines such as `filter blob:none`. */
export const fetchBody = (wants: readonly string[], more: readonly string[] = []): string =>
  [
    pkt('command=fetch'),
    pkt('object-format=sha1'),
    '0001',
    ...['thin-pack', 'ofs-delta', 'no-progress', ...more, ...wants.map((oid) => `want ${oid}`), 'done'].map((line) => pkt(`${line}\n`)),
    '0000',
  ].join('')

/** C git's server, its client left out. `times`: so often, all together, for what is too short to be measured. */
export async function gitCost(
  folder: string,
  repository: string,
  body: string,
  config: readonly string[] = ['pack.useBitmaps=false'],
  times = 1,
): Promise<Cost> {
  const file = join(folder, 'fetch.body')
  await writeFile(file, body)
  const options = config.flatMap((setting) => ['-c', setting])
  const once = 'git "${@:3}" upload-pack --stateless-rpc "$2" < "$1" > /dev/null'
  const script = `exec /usr/bin/time -f "%U %S %M" bash -c 'for i in {1..${times}}; do ${once}; done' "$0" "$@"`
  const env = { ...gitEnvironment(), GIT_PROTOCOL: 'version=2' }
  const { stderr } = await run('bash', ['-c', script, 'bash', file, repository, ...options], { env })
  const [user, system, kilobytes] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number) as [number, number, number]
  return { cpuSeconds: user + system, maxRss: kilobytes * 1024 }
}

/** The hub, for the same body sent by curl. */
export async function hubCost(
  folder: string,
  hub: Hub,
  probeFile: string,
  repository: string,
  body: string,
  times = 1,
): Promise<Cost & { readonly grown: number }> {
  const file = join(folder, 'fetch.body')
  await writeFile(file, body)
  const { rss } = await readProbe(hub, probeFile)
  const ask = () =>
    run('curl', [
      ...['-sS', '--fail', '-o', '/dev/null', '-H', 'Git-Protocol: version=2', '-H', 'Content-Type: application/x-git-upload-pack-request'],
      ...['-u', `admin:${hub.token}`, '--data-binary', `@${file}`, `${hub.url}/${repository}/git-upload-pack`],
    ])
  for (let i = 0; i < times; i++) await ask()
  const { cpuSeconds, maxRss } = await readProbe(hub, probeFile)
  return { cpuSeconds, maxRss, grown: maxRss - rss }
}
