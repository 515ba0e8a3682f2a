import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Hub } from '../test/support/hub.js'
import { git, gitEnvironment } from '../test/support/git.js'
import { startLfsStub } from './lfs-stub.js'
import { atLeast, type Bench, type Row } from './stage.js'
import { median, pairText, timed } from './timing.js'

const run = promisify(execFile)
const GiB = 2 ** 30
const rounds = 3
const manyFiles = 1_000

/** How fast we are, of the peer's speed. */
const speed = (ours: readonly number[], theirs: readonly number[]): number => median(theirs) / median(ours)

interface Actions {
  readonly upload?: { readonly href: string }
  readonly download?: { readonly href: string }
}

async function actionsFor(hub: Hub, operation: 'upload' | 'download', oid: string, size: number): Promise<Actions> {
  const { body } = await hub.api('POST', '/admin/large.git/info/lfs/objects/batch', { operation, objects: [{ oid, size }] })
  return (body as { objects: [{ actions: Actions }] }).objects[0].actions
}

/** Large files in and out, and very many of middling size. */
export async function* largeBench(bench: Bench): AsyncGenerator<Row> {
  const { folder, hub, peer } = bench
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/large', empty: true })
  const file = join(folder, 'large.bin')
  await run('bash', ['-c', `head -c ${GiB} /dev/urandom > "$1"`, 'bash', file])

  const puts: number[] = []
  const copies: number[] = []
  let oid = ''
  for (let round = 0; round <= rounds; round++) {
    // Other bytes every time: what is there already would not be stored again.
    const handle = await open(file, 'r+')
    await handle.write(randomBytes(64), 0, 64, 0)
    await handle.close()
    const copy = join(folder, 'copy.bin')
    const script = 'cat "$1" | tee >(openssl dgst -sha256 > "$2.sum") | dd of="$2" bs=1M iflag=fullblock conv=fsync status=none; wait; cat "$2.sum"'
    const copied = await timed(() => run('bash', ['-c', script, 'bash', file, copy]))
    copies.push(copied.seconds)
    await rm(copy)
    oid = /[0-9a-f]{64}/.exec(copied.result.stdout)![0]
    const { upload } = await actionsFor(hub, 'upload', oid, GiB)
    puts.push((await timed(() => run('curl', ['-sS', '--fail', '-T', file, '-H', 'Expect:', upload!.href]))).seconds)
  }
  puts.shift()
  copies.shift()
  yield atLeast('1 GiB PUT, against tee, openssl and dd', speed(puts, copies), 0.9, pairText(puts, copies))

  await mkdir(peer.statics, { recursive: true })
  await run('cp', [file, join(peer.statics, 'large.bin')])
  const { download } = await actionsFor(hub, 'download', oid, GiB)
  for (const streams of [1, 8]) {
    const ours: number[] = []
    const theirs: number[] = []
    const fetchAll = (url: string) => Promise.all(Array.from({ length: streams }, () => run('curl', ['-sS', '--fail', '-o', '/dev/null', url])))
    for (let round = 0; round <= rounds; round++) {
      ours.push((await timed(() => fetchAll(download!.href))).seconds)
      theirs.push((await timed(() => fetchAll(`${peer.url}/static/large.bin`))).seconds)
    }
    ours.shift()
    theirs.shift()
    yield atLeast(
      `1 GiB GET, ${streams} ${streams === 1 ? 'stream' : 'streams'}, against nginx static`,
      speed(ours, theirs),
      streams === 1 ? 0.8 : 0.6,
      pairText(ours, theirs),
    )
  }
  await rm(file)
  await rm(join(peer.statics, 'large.bin'))
  yield* manyBench(bench)
}

/** A thousand files of 1 MB by `git lfs push`, and the same to a server that checks and keeps nothing. */
async function* manyBench({ folder, hub }: Bench): AsyncGenerator<Row> {
  const stub = await startLfsStub(join(folder, 'stub'))
  const ours: number[] = []
  const theirs: number[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      const work = join(folder, `many${round}`)
      await hub.api('POST', '/api/cairn/repos', { id: `admin/many${round}`, empty: true })
      await git(['init', '-q', work])
      await git(['lfs', 'install', '--local'], { cwd: work })
      await git(['remote', 'add', 'origin', hub.remote(`admin/many${round}`)], { cwd: work })
      await writeFile(join(work, '.gitattributes'), '*.bin filter=lfs diff=lfs merge=lfs -text\n')
      for (let i = 0; i < manyFiles; i++) await writeFile(join(work, `${i}.bin`), randomBytes(1_000_000))
      await git(['add', '.'], { cwd: work })
      await git(['commit', '-q', '-m', 'many'], { cwd: work })
      const push = (url: string) =>
        timed(() => run('git', ['-c', `lfs.url=${url}`, 'lfs', 'push', 'origin', 'HEAD'], { cwd: work, env: gitEnvironment(), maxBuffer: 2 ** 26 }))
      theirs.push((await push(stub.url)).seconds)
      ours.push((await push(`${hub.remote(`admin/many${round}`)}.git/info/lfs`)).seconds)
      await rm(work, { recursive: true })
    }
  } finally {
    await stub.stop()
  }
  yield atLeast(`${manyFiles} files of 1 MB by git-lfs push, against a stub`, speed(ours, theirs), 0.8, pairText(ours, theirs))
}
