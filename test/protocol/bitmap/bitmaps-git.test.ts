import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { BitOrder } from '../../../protocol/bitmap/bit-order.js'
import { BitmapFile } from '../../../protocol/bitmap/bitmap-file.js'
import { findReachable } from '../../../protocol/bitmap/find-reachable.js'
import type { Entry } from '../../../protocol/ports.js'
import type { Oid } from '../../../protocol/types.js'
import { bitmapsOf, orderOfPack, orderOfPacks, placeBitmaps } from '../../support/bitmaps.js'
import { dice } from '../../support/dice.js'
import { closureIn } from '../../support/fetches.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { manyPacks, namedPacksIn } from '../../support/many-packs.js'
import { packView, type MemoryView } from '../../support/pack-view.js'
import { closure, randomHistory, stored, writeHistory } from '../../support/random-history.js'
import { noSlices } from '../../support/wire.js'

async function madeRepository(bare: string, commits: number, repack: readonly string[]): Promise<void> {
  mkdirSync(bare, { recursive: true })
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, commits)
  await git(['repack', '-q', '-a', '-d', ...repack], { cwd: bare })
}

const commitsAt = async (bare: string, ...revs: string[]): Promise<string[]> =>
  (await git(['rev-parse', ...revs.map((rev) => `${rev}^{commit}`)], { cwd: bare })).stdout.toString().split('\n').filter(Boolean)

function oidsIn(view: MemoryView, entries: Iterable<Entry>): string[] {
  const oid = Buffer.alloc(20)
  return Array.from(entries, (entry) => {
    view.oidOf(entry, oid)
    return oid.toString('hex')
  })
}

const queries: readonly [wants: string[], haves: string[]][] = [
  [['main', 'side'], []],
  [['main'], ['main~1']],
  [['side'], ['main~30']],
  [['main~200'], ['side~50', 'v500']],
  [['v500', 'main~3'], ['main~100']],
  [['main~7^{tree}', 'main:src'], ['main~20']],
]

/** C git walks from commits and finds what their bitmaps say; it takes the bitmaps to count; and they say the same to us. */
async function gitAgrees(t: Test, bare: string, view: MemoryView, order: BitOrder, file: Buffer): Promise<void> {
  const bitmaps = BitmapFile.open(file, order)
  const commits = oidsIn(
    view,
    Array.from(bitmaps.commits, (bit) => order.entryOfBit(bit)),
  )
  for (const commit of commits.filter((_, i) => i % 30 === 0)) {
    const { stderr } = await git(['rev-list', '--test-bitmap', commit], { cwd: bare })
    t.match(stderr, /Found bitmap for[^]*OK!/, commit)
  }
  for (const [wants, haves] of queries) {
    const oids = async (revs: readonly string[]): Promise<Oid[]> =>
      revs.length === 0 ? [] : ((await git(['rev-parse', ...revs], { cwd: bare })).stdout.toString().split('\n').filter(Boolean) as Oid[])
    const wanted = await closureIn(bare, wants)
    const had = new Set(haves.length === 0 ? [] : await closureIn(bare, haves))
    const expected = wanted.filter((oid) => !had.has(oid))
    const found = await findReachable({ view, order, bitmaps, wants: await oids(wants), haves: await oids(haves) }, { slices: noSlices })
    const entries: Entry[] = []
    found.each((entry) => entries.push(entry))
    t.same(oidsIn(view, entries).toSorted(), expected, `${wants.join()} without ${haves.join()}`)
    const args = ['rev-list', '--objects', '--use-bitmap-index', '--count', ...wants, ...haves.map((rev) => `^${rev}`)]
    t.equal(Number((await git(args, { cwd: bare })).stdout.toString()), expected.length, 'C git counts as many')
  }
}

t.test('C git takes the bitmaps of a pack', async (t) => {
  const bare = join(t.testdir(), 'bare')
  await madeRepository(bare, 600, ['--no-write-bitmap-index'])
  const [pack] = namedPacksIn(bare)
  const view = packView([pack!])
  const order = orderOfPack(pack!, 0)
  const file = await bitmapsOf(view, order, await commitsAt(bare, 'main', 'side', 'v500'))
  placeBitmaps(bare, { [pack!.name.replace(/idx$/, 'bitmap')]: file })
  t.equal(BitmapFile.open(file, order).count, 111)
  await gitAgrees(t, bare, view, order, file)
})

t.test('C git takes the bitmaps of a multi-pack index', async (t) => {
  const bare = join(t.testdir(), 'bare')
  const packs = await manyPacks(bare, 600)
  const view = packView(packs)
  const { file: index, order } = orderOfPacks(packs)
  const file = await bitmapsOf(view, order, await commitsAt(bare, 'main', 'side', 'v500'))
  const checksum = Buffer.from(order.checksum).toString('hex')
  placeBitmaps(bare, { 'multi-pack-index': index, [`multi-pack-index-${checksum}.bitmap`]: file })
  await git(['multi-pack-index', 'verify'], { cwd: bare })
  await gitAgrees(t, bare, view, order, file)
})

for (const skew of [false, true]) {
  t.test(`of random histories, clocks ${skew ? 'wrong' : 'right'}, C git finds and counts as many with our bitmaps as a walk does`, async (t) => {
    const random = dice(skew ? 77 : 78)
    let bitmapped = 0
    for (let round = 0; round < 3; round++) {
      const history = randomHistory(random, skew, 300)
      const bare = join(t.testdir(), String(round))
      const packs = stored(history, random)
      await writeHistory(bare, history, packs)
      const named = namedPacksIn(bare)
      const view = packView(named)
      const { file: index, order } = orderOfPacks(named)
      const file = await bitmapsOf(view, order, history.tips.slice(-9))
      const checksum = Buffer.from(order.checksum).toString('hex')
      placeBitmaps(bare, { 'multi-pack-index': index, [`multi-pack-index-${checksum}.bitmap`]: file })
      const bitmaps = BitmapFile.open(file, order)
      bitmapped += bitmaps.count
      const some = (most: number): Oid[] => Array.from({ length: random(most + 1) }, () => history.tips[random(history.tips.length)] as Oid)
      for (let n = 0; n < 8; n++) {
        const [wants, haves] = [[...some(2), history.tips.at(-1 - random(20))! as Oid], some(3)]
        const had = closure(history, haves)
        const expected = [...closure(history, wants)].filter((oid) => !had.has(oid)).length
        const found = await findReachable({ view, order, bitmaps, wants, haves }, { slices: noSlices })
        const args = ['rev-list', '--objects', '--count', '--use-bitmap-index', ...wants, ...haves.map((oid) => `^${oid}`)]
        const counted = Number((await git(args, { cwd: bare })).stdout.toString())
        t.same([found.size(), counted], [expected, expected], `history ${round}: ${wants.join()} without ${haves.join()}`)
      }
      const commits = oidsIn(
        view,
        Array.from(bitmaps.commits, (bit) => order.entryOfBit(bit)),
      )
      for (const commit of commits.filter((_, i) => i % 40 === 0)) {
        t.match((await git(['rev-list', '--test-bitmap', commit], { cwd: bare })).stderr, /Found bitmap for[^]*OK!/, commit)
      }
    }
    t.ok(bitmapped > 100, `${bitmapped} bitmaps`)
  })
}

t.test('the bitmaps of C git are read', async (t) => {
  const bare = join(t.testdir(), 'bare')
  await madeRepository(bare, 600, ['--write-bitmap-index'])
  const [pack] = namedPacksIn(bare)
  const view = packView([pack!])
  const order = orderOfPack(pack!, 0)
  const folder = join(bare, 'objects', 'pack')
  const file = readFileSync(join(folder, readdirSync(folder).find((name) => name.endsWith('.bitmap'))!))
  await gitAgrees(t, bare, view, order, file)
  const bitmaps = BitmapFile.open(file, order)
  const types = [1, 2, 3, 4] as const
  t.same(
    types.map((type) => bitmaps.ofType(type).size()),
    types.map((type) => view.entries().filter((entry) => view.typeOf(entry) === type).length),
  )
})
