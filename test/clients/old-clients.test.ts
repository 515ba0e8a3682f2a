import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { git } from '../support/git.js'
import { post, splitPkts } from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { createEmpty, gitText } from '../support/hub-git.js'
import { bodyOf, pkts } from '../support/wire.js'

const hub = await startHub(t)
const dir = t.testdir()
const work = join(dir, 'work')
await git(['init', '-q', '-b', 'main', work])
for (const n of ['one', 'two', 'three']) await git(['commit', '-q', '--allow-empty', '-m', n], { cwd: work })
await git(['tag', '-a', '-m', 'tagged', 'v1', 'main~1'], { cwd: work })
await git(['push', '-q', await createEmpty(hub, 'old'), 'main', 'v1'], { cwd: work })
const [tip, middle, first] = await Promise.all(['main', 'main~1', 'main~2'].map((name) => gitText(work, 'rev-parse', name)))
const unknown = '7'.repeat(40)

interface OldClient {
  readonly name: string
  /** Words behind its first want, as sent. */
  readonly words: string
  /** The lines before a pack, given that `middle` is in common and more rounds were not needed. */
  readonly acks: string
  readonly gzip?: boolean
  readonly chunked?: boolean
}

/** As they were seen on the wire. */
const clients: readonly OldClient[] = [
  {
    name: 'git 2.20',
    words: ' multi_ack_detailed no-done side-band-64k thin-pack include-tag ofs-delta deepen-since deepen-not agent=git/2.20.1',
    acks: `ACK ${middle} common\nACK ${middle}\n`,
  },
  {
    name: 'JGit 4.11',
    words: ' multi_ack_detailed no-done include-tag side-band-64k ofs-delta agent=JGit/4.11.9',
    acks: `ACK ${middle} common\nACK ${middle}\n`,
    gzip: true,
  },
  {
    name: 'libgit2',
    words: ' multi_ack_detailed side-band-64k include-tag thin-pack ofs-delta ',
    acks: `ACK ${middle} common\nACK ${middle}\n`,
    chunked: true,
  },
  { name: 'go-git v5', words: ' ofs-delta side-band-64k agent=go-git/5.x', acks: `ACK ${middle}\n` },
  { name: 'go-git v5 without progress', words: ' ofs-delta agent=go-git/5.x', acks: `ACK ${middle}\n` },
  {
    name: 'dulwich 0.21',
    words: ' multi_ack multi_ack_detailed side-band-64k thin-pack ofs-delta agent=dulwich/0.21',
    acks: `ACK ${middle} common\nACK ${middle}\n`,
    chunked: true,
  },
  { name: 'git 1.5', words: ' multi_ack thin-pack side-band ofs-delta', acks: `ACK ${middle} continue\nACK ${middle}\n` },
  { name: 'a client that names nothing', words: '', acks: `ACK ${middle}\n` },
]

async function ask({ gzip, chunked }: Pick<OldClient, 'gzip' | 'chunked'>, ...lines: readonly string[]): Promise<Buffer> {
  const plain = pkts(...lines)
  const bytes = gzip ? gzipSync(plain) : plain
  const half = bytes.length >> 1
  const body = chunked ? bodyOf(bytes.subarray(0, half), bytes.subarray(half)) : bytes
  const { status, body: answer } = await post(hub, 'admin/old', 'git-upload-pack', body, gzip ? { headers: { 'content-encoding': 'gzip' } } : {})
  if (status !== 200) throw new Error(`answered ${status}`)
  return answer
}

/** What is said before the pack, and the pack, taken off its bands if it comes on any. */
function takeApart(answer: Buffer, words: string): { readonly said: string; readonly pack: Buffer } {
  let said = ''
  let at = 0
  for (;;) {
    const line = splitPkts(answer.subarray(at, at + Number.parseInt(answer.toString('latin1', at, at + 4), 16)))[0]!
    if (!/^(ACK|NAK)/.test(line.toString('latin1'))) break
    said += line.toString('latin1')
    at += line.length + 4
    if (answer.toString('latin1', at, at + 4) === 'PACK') break
  }
  const rest = answer.subarray(at)
  const banded = words.includes('side-band') ? splitPkts(rest).filter((payload) => payload[0] === 1) : [Buffer.concat([Buffer.from([1]), rest])]
  if (words.includes('side-band ')) for (const payload of splitPkts(rest)) if (payload.length > 996) throw new Error('a packet is too large')
  return { said, pack: Buffer.concat(banded.map((payload) => payload.subarray(1))) }
}

let made = 0

/** Takes packs into a new repository one after another, strictly; the history of `wanted` must be whole then. */
async function takenIn(t: Test, wanted: string, ...packs: readonly Buffer[]): Promise<void> {
  const cwd = join(dir, `client-${++made}`)
  await mkdir(cwd)
  await git(['init', '-q', '--bare', '.'], { cwd })
  for (const input of packs) await git(['index-pack', '--strict', '--stdin', '--fix-thin'], { cwd, input })
  await git(['update-ref', 'refs/heads/main', wanted], { cwd })
  await git(['fsck', '--strict', '--full'], { cwd })
  t.equal(await gitText(cwd, 'rev-list', '--count', 'main'), await gitText(work, 'rev-list', '--count', wanted))
}

for (const client of clients) {
  t.test(`${client.name}: clone, then fetch`, async (t) => {
    const clone = takeApart(await ask(client, `want ${middle}${client.words}\n`, `want ${middle}\n`, '0000', 'done\n'), client.words)
    t.equal(clone.said, 'NAK\n')
    const fetch = takeApart(await ask(client, `want ${tip}${client.words}\n`, '0000', `have ${middle}\n`, 'done\n'), client.words)
    t.equal(fetch.said, client.acks)
    await takenIn(t, tip!, clone.pack, fetch.pack)
    const nothing = takeApart(await ask(client, `want ${tip}${client.words}\n`, '0000', `have ${unknown}\n`, 'done\n'), client.words)
    t.equal(nothing.said, 'NAK\n')
    await takenIn(t, tip!, nothing.pack)
  })
}

t.test('wants: peeled tags, what a tip reaches, twice the same', async (t) => {
  for (const oid of [middle!, first!]) {
    const { pack } = takeApart(await ask({}, `want ${oid} ofs-delta\n`, `want ${oid}\n`, '0000', 'done\n'), '')
    await takenIn(t, oid, pack)
  }
  const cwd = join(dir, 'by-oid')
  await git(['init', '-q', cwd])
  await git(['-c', 'protocol.version=0', 'fetch', '-q', hub.remote('admin/old'), first!], { cwd })
  t.equal(await gitText(cwd, 'rev-parse', 'FETCH_HEAD'), first)
  t.equal((await ask({}, `want ${unknown} ofs-delta\n`, '0000', 'done\n')).toString(), `004aERR upload-pack: not our ref ${unknown}\n`)
})

t.test('v0 shallow: the section opens every answer; the first body ends behind the wants', async (t) => {
  const words = ' multi_ack_detailed no-done side-band-64k thin-pack ofs-delta shallow'
  const lines = [`want ${tip}${words}\n`, 'deepen 2\n', '0000'] as const
  const section = `0034shallow ${middle}0000`
  t.equal((await ask({}, ...lines)).toString(), section)
  t.equal((await ask({}, ...lines, `have ${unknown}\n`, '0000')).toString(), `${section}0008NAK\n`)
  const last = (await ask({}, ...lines, 'done\n')).toString('latin1')
  t.equal(last.slice(0, section.length + 8), `${section}0008NAK\n`)
})
