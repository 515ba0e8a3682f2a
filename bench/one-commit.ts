import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { WorkTree } from '../test/support/domain.js'
import { git } from '../test/support/git.js'
import { basic, plainCapabilities, pushHead } from '../test/support/hostile.js'
import type { Replicas } from '../test/support/replicas.js'
import { pushOnce, type PushTarget } from './push-once.js'
import { atMost, type Bench, type Row } from './stage.js'
import { median, millisecondsText, timed } from './timing.js'

const commits = 40
/** The first ones warm both servers up. */
const warmUps = 60

/** Pushes of one commit each, one after the other, on top of the same repository. `source`: a bare one with `main`. */
export async function* oneCommitPushes({ folder, peer }: Bench, hubs: Replicas, source: string): AsyncGenerator<Row> {
  await hubs.api('POST', '/api/cairn/repos', { id: 'admin/commits', empty: true })
  await git(['push', '-q', hubs.remote('admin/commits'), 'main'], { cwd: source })
  const bare = join(peer.root, 'commits.git')
  await git(['clone', '-q', '--bare', '--single-branch', '--branch', 'main', source, bare])
  await git(['config', 'http.receivepack', 'true'], { cwd: bare })
  const work = new WorkTree(join(folder, 'commits'))
  await git(['clone', '-q', '--no-checkout', source, work.cwd])
  await git(['read-tree', 'HEAD'], { cwd: work.cwd })

  const theirs: PushTarget = { url: `${peer.url}/commits.git`, headers: {} }
  const ours: PushTarget = { url: `${hubs.replicas[0]!.url}/admin/commits`, headers: { authorization: basic(hubs.token) } }
  const seconds: { readonly ours: number[]; readonly theirs: number[] } = { ours: [], theirs: [] }
  const storedBefore = (await hubs.s3.contents(hubs.bucket)).length
  for (let i = 0; i < commits + warmUps; i++) {
    const before = await work.rev('HEAD')
    const after = await work.commit({ 'config.json': randomBytes(1_000).toString('base64') })
    const pack = await work.pack(after, `^${before}`)
    const body = Buffer.concat([pushHead([[before, after, 'refs/heads/main']], plainCapabilities), pack])
    const pair = [(await timed(() => pushOnce(ours, body))).seconds, (await timed(() => pushOnce(theirs, body))).seconds] as const
    if (i < warmUps) continue
    seconds.ours.push(pair[0])
    seconds.theirs.push(pair[1])
  }
  yield atMost(
    'push of one commit, server time',
    median(seconds.ours) / median(seconds.theirs),
    0.3,
    `${millisecondsText(seconds.ours)}, http-backend ${millisecondsText(seconds.theirs)}`,
  )
  const stored = (await hubs.s3.contents(hubs.bucket)).length - storedBefore
  yield { what: '  objects in the bucket for them', ratio: String(stored), goal: '0', ok: stored === 0, figures: `${commits + warmUps} pushes` }
}
