import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { streamPack } from '../src/repos/pack-stream.js'
import { git } from '../test/support/git.js'
import { basic, pushHead } from '../test/support/hostile.js'
import { newCommit, zero } from './new-commit.js'
import { askOnce, pushOnce, type PushTarget } from './push-once.js'
import { atMost, type Bench, type Row } from './stage.js'
import { median, millisecondsText, timed } from './timing.js'
import { pkt } from './upload-pack.js'

const branches = 50_000
const rounds = 20
/** The hub takes no more at once. */
const refsAPush = 5_000

/** 50,000 branches: the list of them, in protocol v2 as git asks for it, and a push of one commit to one of them. */
export async function* refsBench({ hub, peer }: Bench): AsyncGenerator<Row> {
  const target = join(peer.root, 'refs.git')
  await git(['init', '-q', '--bare', target])
  await git(['config', 'http.receivepack', 'true'], { cwd: target })
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/refs', empty: true })
  const ours: PushTarget = { url: `${hub.url}/admin/refs`, headers: { authorization: basic(hub.token) } }
  const theirs: PushTarget = { url: `${peer.url}/refs.git`, headers: {} }
  const first = await newCommit('refs/heads/main', undefined)
  for (const each of [ours, theirs]) await pushOnce(each, first.body, 'refs/heads/main')
  // Not by git's own push: the client alone takes ten minutes for so many.
  const names = Array.from({ length: branches }, (_, i) => `refs/heads/b${i}`)
  const noPack = await buffer(streamPack([]))
  for (let at = 0; at < branches; at += refsAPush) {
    const commands = names.slice(at, at + refsAPush).map((name): [string, string, string] => [zero, first.oid, name])
    await pushOnce(ours, Buffer.concat([pushHead(commands), noPack]), names[at])
  }
  await git(['update-ref', '--stdin'], { cwd: target, input: Buffer.from(names.map((name) => `create ${name} ${first.oid}\n`).join('')) })
  await git(['pack-refs', '--all'], { cwd: target })

  const times = { listOurs: [] as number[], listTheirs: [] as number[], pushOurs: [] as number[], pushTheirs: [] as number[] }
  const tips = new Map<PushTarget, string>([ours, theirs].map((each) => [each, first.oid]))
  for (let round = 0; round < rounds; round++) {
    for (const [each, list, push] of [
      [ours, times.listOurs, times.pushOurs],
      [theirs, times.listTheirs, times.pushTheirs],
    ] as const) {
      list.push((await timed(() => askOnce(each, 'git-upload-pack', listRefs))).seconds)
      const { oid, body } = await newCommit('refs/heads/b7', tips.get(each))
      push.push((await timed(() => pushOnce(each, body, 'refs/heads/b7'))).seconds)
      tips.set(each, oid)
    }
  }
  const pair = (mine: readonly number[], other: readonly number[]) => `${millisecondsText(mine)}, http-backend ${millisecondsText(other)}`
  const { listOurs, listTheirs, pushOurs, pushTheirs } = times
  yield atMost('50,000 refs: ls-refs', median(listOurs) / median(listTheirs), 0.3, pair(listOurs, listTheirs))
  yield atMost('50,000 refs: push of one commit', median(pushOurs) / median(pushTheirs), 0.3, pair(pushOurs, pushTheirs))
}

const listRefs = [pkt('command=ls-refs\n'), pkt('object-format=sha1'), '0001', pkt('peel\n'), pkt('symrefs\n'), '0000'].join('')
