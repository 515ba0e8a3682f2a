import { join } from 'node:path'
import { git } from '../test/support/git.js'
import { basic } from '../test/support/hostile.js'
import { makeBigRepo } from './make-big-repo.js'
import { newCommit } from './new-commit.js'
import { pushOnce, type PushTarget } from './push-once.js'
import { atMost, type Bench, type Row } from './stage.js'
import { median, millisecondsText, timed } from './timing.js'

/** What a push costs that many pushes and objects later. */
const measured = 30
const objects = [1_000, 10_000, 100_000, 1_000_000]
const pushes = [10, 100, 1_000, 10_000]
/** `CAIRN_BENCH_PUSHES=100000` goes on to there: a quarter of an hour. */
const most = Number(process.env['CAIRN_BENCH_PUSHES'] ?? pushes.at(-1))
const objectsACommit = 6
const branch = 'refs/heads/bench'

/** A push of one commit, whatever is there already, beside http-backend: server time alone. */
export async function* pushesBench({ folder, hub, peer }: Bench): AsyncGenerator<Row> {
  const startBoth = async (name: string): Promise<{ ours: PushTarget; theirs: PushTarget; bare: string }> => {
    await hub.api('POST', '/api/cairn/repos', { id: `admin/${name}`, empty: true })
    const bare = join(peer.root, `${name}.git`)
    await git(['init', '-q', '--bare', bare])
    await git(['config', 'http.receivepack', 'true'], { cwd: bare })
    const ours = { url: `${hub.url}/admin/${name}`, headers: { authorization: basic(hub.token) } }
    return { ours, theirs: { url: `${peer.url}/${name}.git`, headers: {} }, bare }
  }
  let flat: number | undefined
  const row = (what: string, mine: readonly number[], other: readonly number[]): Row => {
    flat ??= median(mine)
    const figures = `${millisecondsText(mine)}, ${(median(mine) / flat).toFixed(2)} of the first row; http-backend ${millisecondsText(other)}`
    return atMost(`push of one commit ${what}`, median(mine) / median(other), 0.5, figures)
  }

  for (const count of objects) {
    const { ours, theirs, bare } = await startBoth(`objects-${count}`)
    const source = join(folder, `objects-${count}.git`)
    await makeBigRepo(source, Math.ceil(count / objectsACommit))
    await git(['push', '-q', hub.remote(`admin/objects-${count}`), 'main', 'side'], { cwd: source })
    await git(['fetch', '-q', source, 'main:main', 'side:side'], { cwd: bare })
    const [mine, other] = [new Pusher(ours), new Pusher(theirs)]
    for (let i = 0; i < measured; i++) {
      await mine.push()
      await other.push()
    }
    yield row(`among ${count.toLocaleString('en')} objects`, mine.last(measured), other.last(measured))
  }

  const { ours, theirs } = await startBoth('pushes')
  const [mine, other] = [new Pusher(ours), new Pusher(theirs)]
  for (const count of [...pushes.filter((each) => each < most), most]) {
    while (mine.count < count) await mine.push()
    // The peer is shown as it is at the start: its pushes are its own affair.
    for (let i = 0; i < measured; i++) {
      await mine.push()
      await other.push()
    }
    yield row(`after ${count.toLocaleString('en')} pushes`, mine.last(measured), other.last(measured))
  }
}

class Pusher {
  readonly #target: PushTarget
  readonly #seconds: number[] = []
  #tip: string | undefined

  constructor(target: PushTarget) {
    this.#target = target
  }

  get count(): number {
    return this.#seconds.length
  }

  last(count: number): readonly number[] {
    return this.#seconds.slice(-count)
  }

  async push(): Promise<void> {
    const { oid, body } = await newCommit(branch, this.#tip)
    this.#seconds.push((await timed(() => pushOnce(this.#target, body, branch))).seconds)
    this.#tip = oid
  }
}
