import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createObjectReader } from '../../../protocol/pack/reader.js'
import type { Ref } from '../../../protocol/types.js'
import { answer, clientWith, closureIn, oidIn, takeInto } from '../../support/fetches.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { memoryPack, packView, refsIn, viewOf, type MemoryPack, type MemoryView } from '../../support/pack-view.js'
import { hexes, indexPack, type Base } from '../../support/packs.js'

const dir = t.testdir()
const origin = join(dir, 'origin')
let refs: Ref[] = []
let clients = 0

async function emptyRepository(name: string): Promise<string> {
  const bare = join(dir, name)
  mkdirSync(bare)
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  return bare
}

async function packed(args: readonly string[], input: string): Promise<MemoryPack> {
  const { stdout } = await git(['pack-objects', '-q', '--stdout', ...args], { cwd: origin, input: Buffer.from(input) })
  return memoryPack(stdout)
}

t.before(async () => {
  await emptyRepository('origin')
  await importHistory(origin, 600)
  await git(['tag', '-m', 'of a tag', 'nested', 'v500'], { cwd: origin })
  await git(['tag', '-m', 'of a tree', 'tree', 'main^{tree}'], { cwd: origin })
  await git(['repack', '-a', '-d', '-f', '-q', '--no-write-bitmap-index'], { cwd: origin })
  refs = await refsIn(origin)
})

/** The same history, stored in one way and another. */
const layouts: Readonly<Record<string, () => Promise<MemoryPack[]>>> = {
  'one pack with offsets': async () => [await packed(['--revs', '--all', '--delta-base-offset'], '')],
  'one pack with names of bases': async () => [await packed(['--revs', '--all', '--no-reuse-delta'], '')],
  'whole objects': async () => [await packed(['--revs', '--all', '--window=0', '--no-reuse-delta'], '')],
  'a pack for each part of the history': async () => [
    await packed(['--revs', '--delta-base-offset'], 'main\nside\nnested\ntree\n^main~30\n'),
    await packed(['--revs', '--delta-base-offset'], 'main~30\n^main~250\n'),
    await packed(['--revs'], 'main~250\n'),
    await packed(['--revs', '--delta-base-offset'], 'side\n'),
    await packed(['--revs', '--all'], ''),
  ],
  'packs that share objects and lean on different bases': async () => {
    const oids = await closureIn(origin, ['--all'])
    const share = (keep: (n: number) => boolean) => oids.filter((oid) => keep(Number.parseInt(oid.slice(0, 2), 16))).join('\n')
    return [
      await packed(
        ['--delta-base-offset', '--no-reuse-delta'],
        share((n) => n % 3 !== 0),
      ),
      await packed(
        ['--no-reuse-delta'],
        share((n) => n % 3 !== 1),
      ),
      await packed(
        ['--delta-base-offset', '--no-reuse-delta', '--window=30'],
        share((n) => n % 3 !== 2),
      ),
    ]
  },
}

interface Fetch {
  readonly wants: readonly string[]
  readonly haves: readonly string[]
}

const fetches: Readonly<Record<string, Fetch>> = {
  'a clone': { wants: ['main', 'side', 'nested', 'v500', 'tree'], haves: [] },
  'the last commit of a line': { wants: ['main'], haves: ['main~1'] },
  'a few merges': { wants: ['main', 'side'], haves: ['main~12'] },
  'half of the history': { wants: ['main', 'nested'], haves: ['main~350'] },
  'one branch, given the other': { wants: ['main'], haves: ['side'] },
  'a tag of a tag': { wants: ['nested'], haves: ['v500^{commit}~5'] },
  'a tree and a blob': { wants: ['main^{tree}', 'main:bin'], haves: ['main~100'] },
}

async function objectsOf(view: MemoryView): Promise<Map<string, Base>> {
  const reader = createObjectReader(view)
  const objects = new Map<string, Base>()
  const oid = Buffer.alloc(20)
  for (const entry of view.entries()) {
    view.oidOf(entry, oid)
    objects.set(oid.toString('hex'), await reader.read(entry))
  }
  return objects
}

for (const [layout, makePacks] of Object.entries(layouts)) {
  t.test(`${layout}: git takes every answer`, async (t) => {
    const view = packView(await makePacks(), refs)
    const objects = await objectsOf(view)
    t.equal(objects.size, (await closureIn(origin, ['--all'])).length)
    for (const [name, { wants: wanted, haves: had }] of Object.entries(fetches)) {
      const wants = await Promise.all(wanted.map((want) => oidIn(origin, want)))
      const haves = await Promise.all(had.map((have) => oidIn(origin, have)))
      const needed = await closureIn(origin, [...wants, ...haves.map((oid) => `^${oid}`)])
      const all = new Set(await closureIn(origin, wants))
      const known = new Set(haves.length === 0 ? [] : await closureIn(origin, haves))

      const client = await clientWith(join(dir, `client-${++clients}`), origin, haves)
      const sent = await takeInto(client, await answer(view, { wants, haves, thinPack: true }), wants, haves.length > 0)
      t.equal(new Set(sent).size, sent.length, `${name}: nothing twice`)
      t.same(
        needed.filter((oid) => !sent.includes(oid)),
        [],
        `${name}: nothing is left out`,
      )
      t.same(
        sent.filter((oid) => !all.has(oid)),
        [],
        `${name}: nothing that was not wanted`,
      )
      t.equal(sent.length, needed.length, `${name}: as many as git sends`)

      // The other shapes of the answer hold the same objects, and lean on nothing that is not there.
      const bases = new Map([...objects].filter(([oid]) => known.has(oid)))
      for (const [thinPack, ofsDelta] of [
        [false, true],
        [true, false],
        [false, false],
      ] as const) {
        const pack = await answer(view, { wants, haves, thinPack, ofsDelta })
        const { index } = indexPack(pack, thinPack ? { bases } : {})
        const shape = `${name}${thinPack ? ', thin' : ''}${ofsDelta ? ', offsets' : ', names'}`
        t.same(hexes(index.oids).slice(0, pack.readUInt32BE(8)).toSorted(), sent.toSorted(), shape)
        t.ok(ofsDelta || index.types.every((_, rank) => index.bases[rank] === -1 || index.types[rank]! & 0x80), `${shape}: no offsets unasked`)
      }
    }
  })
}

/** Histories as people make them, and as machines with wrong clocks do. */
t.test('odd histories', async (t) => {
  const bare = await emptyRepository('odd')
  const deep = `${'d/'.repeat(2500)}file`
  const gitlink = '1234567890123456789012345678901234567890'
  const who = (seconds: number) => `committer A U Thor <author@example.com> ${seconds} +0000\ndata 2\nx\n`
  const file = (name: string, text: string) => `M 100644 inline ${name}\ndata ${text.length}\n${text}\n`
  const stream = [
    // A line whose clocks go back and forth by years.
    ...Array.from(
      { length: 40 },
      (_, i) => `commit refs/heads/skewed\nmark :${i + 1}\n${who(1_500_000_000 + ((i * 7919) % 40) * 30_000_000)}${file(`f${i % 6}`, `skewed ${i}`)}`,
    ),
    // Two branches that merge each other.
    `commit refs/heads/a\nmark :101\n${who(1000)}from :5\n${file('a', '1')}`,
    `commit refs/heads/b\nmark :102\n${who(1001)}from :5\n${file('b', '1')}`,
    `commit refs/heads/a\nmark :103\n${who(1002)}from :101\nmerge :102\n${file('b', '1')}`,
    `commit refs/heads/b\nmark :104\n${who(1003)}from :102\nmerge :101\n${file('a', '1')}`,
    `commit refs/heads/a\nmark :105\n${who(1004)}from :103\nmerge :104\n${file('c', '2')}`,
    `commit refs/heads/b\nmark :106\n${who(1005)}from :104\nmerge :103\n${file('c', '3')}`,
    // Six parents, a submodule, a symbolic link, a tree of 2,500 levels.
    `commit refs/heads/octopus\nmark :107\n${who(1006)}from :105\nmerge :106\nmerge :40\nmerge :10\nmerge :20\nmerge :30\n${file('octopus', '8')}`,
    `commit refs/heads/odd\nmark :108\n${who(1007)}from :107\nM 160000 ${gitlink} sub\nM 120000 inline link\ndata 7\noctopus\n`,
    `commit refs/heads/odd\nmark :109\n${who(1008)}from :108\n${file(deep, 'bottom')}`,
    `commit refs/heads/odd\nmark :110\n${who(1009)}from :109\n${file(deep, 'other bottom')}`,
    // A history of its own.
    `commit refs/heads/alone\nmark :111\n${who(2)}${file('f0', 'skewed 0')}`,
    // No change, and what there was before.
    `commit refs/heads/odd\nmark :112\n${who(1010)}from :110\n`,
    `commit refs/heads/odd\nmark :113\n${who(1011)}from :112\nD d\n`,
    'done\n',
  ]
  await git(['fast-import', '--quiet', '--done'], { cwd: bare, input: Buffer.from(stream.join('')) })
  await git(['tag', '-m', 'blob', 'blob', 'odd:octopus'], { cwd: bare })
  await git(['repack', '-a', '-d', '-f', '-q', '--no-write-bitmap-index'], { cwd: bare })
  const view = await viewOf(bare)
  const cases: readonly (readonly [wants: string[], haves: string[]])[] = [
    [['odd', 'a', 'b', 'alone', 'blob', 'skewed'], []],
    [['a'], ['b']],
    [['b'], ['a']],
    [
      ['a', 'b'],
      ['a~1', 'b~1'],
    ],
    [['octopus'], ['skewed']],
    [['octopus'], ['skewed~3', 'a']],
    [['odd'], ['octopus^3~2', 'octopus^5']],
    [['odd'], ['odd~3']],
    [['odd~2'], ['odd~3']],
    [['odd~3'], ['odd']],
    [['odd', 'alone'], ['alone']],
    [['alone'], ['odd']],
    [['skewed'], ['skewed~1']],
    [['skewed'], ['skewed~10', 'skewed~30']],
    [['skewed~10'], ['skewed', 'skewed~30']],
    [
      ['skewed~20', 'odd'],
      ['a', 'skewed~25'],
    ],
    [['blob'], ['skewed']],
    [['odd:d'], ['odd~2^{tree}']],
  ]
  for (const [wanted, had] of cases) {
    const expressions = wanted.map((want) => (want === 'odd:d' ? 'odd~2:d' : want))
    const wants = await Promise.all(expressions.map((want) => oidIn(bare, want)))
    const haves = await Promise.all(had.map((have) => oidIn(bare, have)))
    const wantClosure = await closureIn(bare, wants)
    const haveClosure = new Set(haves.length === 0 ? [] : await closureIn(bare, haves))
    const client = await clientWith(join(dir, `client-${++clients}`), bare, haves)
    const pack = await answer(view, { wants, haves, thinPack: true })
    const sent = pack.readUInt32BE(8) === 0 ? [] : await takeInto(client, pack, wants, true)
    const what = `${wanted.join(' ')} ^${had.join(' ^')}`
    t.equal(new Set(sent).size, sent.length, `${what}: nothing twice`)
    t.same(
      wantClosure.filter((oid) => !haveClosure.has(oid) && !sent.includes(oid)),
      [],
      `${what}: nothing is left out`,
    )
    t.same(
      sent.filter((oid) => !wantClosure.includes(oid)),
      [],
      `${what}: nothing that was not wanted`,
    )
    t.notOk(sent.includes(gitlink))
  }
})
