import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { encodeIndexFile } from '../../../protocol/pack/index-file.js'
import { PackIndexer, type PackIndex } from '../../../protocol/pack/indexer.js'
import { ReferenceSet } from '../../../protocol/pack/reference-set.js'
import { compareOids, gatherOids, sortOids } from '../../../protocol/pack/sort-oids.js'
import { encodeReverseIndex } from '../../../protocol/pack/reverse-index.js'
import { git } from '../../support/git.js'
import {
  blob,
  commitOf,
  hexes,
  indexedByGit,
  indexPack,
  insertDelta,
  limits,
  nameOf,
  packOf,
  sealed,
  sha1,
  sourceOf,
  treeOf,
  type Base,
  type Entry,
} from '../../support/packs.js'

let repository = ''

/** 60 commits that edit two files, one of them large, and a tag. */
t.before(async () => {
  repository = mkdtempSync(join(tmpdir(), 'cairn-indexer-'))
  await git(['init', '-q', '--bare', '.'], { cwd: repository })
  const stream: string[] = []
  const lines = Array.from({ length: 400 }, (_, i) => `line ${i} ${sha1(Buffer.from(String(i))).toString('hex')}`)
  for (let i = 1; i <= 60; i++) {
    lines[(i * 37) % 400] = `line changed in commit ${i}`
    const large = lines.join('\n')
    const message = `commit ${i}\n`
    stream.push(
      `commit refs/heads/main\ncommitter A U Thor <a@example.com> ${1_700_000_000 + i} +0000\ndata ${message.length}\n${message}`,
      `M 100644 inline large.txt\ndata ${large.length}\n${large}\n`,
      `M 100644 inline dir/sub/${i % 7}.txt\ndata ${message.length}\n${message}\n`,
    )
  }
  stream.push('tag v1\nfrom refs/heads/main\ntagger A U Thor <a@example.com> 1700000000 +0000\ndata 3\nv1\n\n')
  await git(['fast-import', '--quiet', '--depth=20'], { cwd: repository, input: Buffer.from(stream.join('')) })
})

t.after(() => rmSync(repository, { recursive: true, force: true }))

async function packObjects(args: readonly string[], input: string): Promise<Buffer> {
  const { stdout } = await git(['pack-objects', '-q', '--stdout', '--revs', '--no-reuse-delta', ...args], {
    cwd: repository,
    input: Buffer.from(input),
  })
  return stdout
}

/** The columns in the words of `verify-pack -v`. */
function verifyLines(index: PackIndex): string[] {
  const names = ['', 'commit', 'tree  ', 'blob  ', 'tag   ']
  const depthOf = (rank: number): number => (index.bases[rank] === -1 ? 0 : 1 + depthOf(index.bases[rank]!))
  const oidOf = (rank: number): string => Buffer.from(index.oids.subarray(rank * 20, rank * 20 + 20)).toString('hex')
  return Array.from({ length: index.count }, (_, rank) => {
    const end = rank + 1 < index.count ? index.offsets[rank + 1]! : index.packBytes - 20
    const base = index.bases[rank]!
    const stored = `${end - index.offsets[rank]!} ${index.offsets[rank]}`
    return `${oidOf(rank)} ${names[index.types[rank]! & 7]} ${base === -1 ? index.sizes[rank] : '*'} ${stored}${base === -1 ? '' : ` ${depthOf(rank)} ${oidOf(base)}`}`
  })
}

/** verify-pack gives a delta's own size, which we do not keep. */
const withoutDeltaSizes = (lines: readonly string[]): string[] => lines.map((line) => line.replace(/^(\w+ +\w+ +)\d+( \d+ \d+ \d+ \w+)$/, '$1*$2'))

t.test('packs of git are indexed to the byte as git does', async (t) => {
  const packs = {
    'ofs-delta': await packObjects(['--all', '--delta-base-offset'], ''),
    'ref-delta': await packObjects(['--all'], ''),
    'whole objects': await packObjects(['--all', '--window=0'], ''),
    'one commit': await packObjects(['--delta-base-offset'], 'main\n^main~1\n'),
    nothing: await packObjects([], ''),
  }
  for (const [name, pack] of Object.entries(packs)) {
    const { index, steps } = indexPack(pack)
    const expected = await indexedByGit(pack, repository)
    t.ok(encodeIndexFile(index).equals(expected.idx), `${name}: .idx`)
    t.ok(encodeReverseIndex(index).equals(expected.rev), `${name}: .rev`)
    t.same(verifyLines(index), withoutDeltaSizes(expected.objects), name)
    t.equal(
      index.types.some((type) => type >= 0x80),
      name === 'ref-delta',
      name,
    )
    t.equal(
      index.bases.some((base) => base >= 0),
      name.endsWith('-delta'),
      name,
    )
    if (name === 'ref-delta') t.ok(steps > 10, 'it can be run in slices')
  }
})

t.test('sizes are those of the objects, also where deltas are stored', async (t) => {
  const { index } = indexPack(await packObjects(['--all', '--delta-base-offset'], ''))
  const names = hexes(index.oids)
  const { stdout } = await git(['cat-file', '--batch-check=%(objectname) %(objecttype) %(objectsize)'], {
    cwd: repository,
    input: Buffer.from(names.join('\n')),
  })
  const types = ['', 'commit', 'tree', 'blob', 'tag']
  t.same(
    stdout.toString().trimEnd().split('\n'),
    names.map((name, rank) => `${name} ${types[index.types[rank]! & 7]} ${index.sizes[rank]}`),
  )
})

t.test('bases that did not fit the budget are derived again', async (t) => {
  const pack = await packObjects(['--all', '--delta-base-offset', '--depth=50'], '')
  const expected = indexPack(pack).index
  for (const cacheBytes of [0, 40_000, 100_000]) t.same(indexPack(pack, { limits: { cacheBytes } }).index, expected)
})

t.test('thin packs are completed so that git takes them', async (t) => {
  for (const args of [['--thin', '--delta-base-offset'], ['--thin']]) {
    const thin = await packObjects(args, 'main\n^main~20\n')
    const bases = new Map<string, Base>()
    const probe = new PackIndexer(limits)
    const source = sourceOf(() => thin)
    for (const _ of probe.scan(source)) continue
    for (const _ of probe.resolve(source)) continue
    t.throws(() => probe.finish(thin.subarray(-20), thin.length), {
      code: 'bad-pack',
      message: /^object \d+ of \d+ is a delta of [0-9a-f]{40}, which is not to be had$/,
    })
    const missing = probe.missingBases().map((oid) => oid.toString('hex'))
    t.ok(missing.length > 0)
    for (const oid of missing) {
      const type = (await git(['cat-file', '-t', oid], { cwd: repository })).stdout.toString().trim()
      const { stdout } = await git(['cat-file', type, oid], { cwd: repository })
      bases.set(oid, { type: ({ commit: 1, tree: 2, blob: 3, tag: 4 } as const)[type as 'commit'], data: stdout })
    }
    const { index, indexer, pack } = indexPack(thin, { bases })
    t.equal(index.count, thin.readUInt32BE(8) + indexer.addedBases)
    const expected = await indexedByGit(pack, repository)
    t.ok(encodeIndexFile(index).equals(expected.idx))
    t.same(verifyLines(index), withoutDeltaSizes(expected.objects))

    const { roots, externals, expected: masks } = indexer.connect(index)
    const tip = (await git(['rev-parse', 'main'], { cwd: repository })).stdout.toString().trim()
    t.same(hexes(roots!), [tip])
    const added = hexes(index.oids).slice(index.count - indexer.addedBases)
    t.same(
      added.filter((oid) => !hexes(externals).includes(oid)),
      [],
      'added bases are external',
    )
    t.equal(masks.length, externals.length / 20)
  }
})

t.test('a base that is not what its name says is refused, and one that nobody waits for is not taken', async (t) => {
  const [base, result] = [blob('the base'), blob('the result')]
  const thin = packOf([{ base: nameOf(base), delta: insertDelta(base.data, result.data) }])
  const indexer = new PackIndexer(limits)
  for (const _ of indexer.scan(sourceOf(() => thin))) continue
  const at = thin.length - 20
  const oid = Buffer.from(nameOf(base), 'hex')
  t.throws(() => indexer.addBase(oid, 3, Buffer.from('the best'), at), { code: 'corrupt' })
  t.throws(() => indexer.addBase(oid, 3, base.data, at + 1), RangeError)
  t.equal(indexer.addBase(Buffer.alloc(20, 1), 3, base.data, at).length, 0)
  t.equal(indexer.addedBases, 0)
  t.not(indexer.addBase(oid, 3, base.data, at).length, 0)
  t.equal(indexer.addedBases, 1)
})

t.test('a delta of a delta whose own base is missing needs only that one', async (t) => {
  const [first, second, third] = [blob('first'), blob('second'), blob('third')]
  const thin = packOf([
    { base: nameOf(second), delta: insertDelta(second.data, third.data) },
    { base: nameOf(first), delta: insertDelta(first.data, second.data) },
  ])
  const { index, indexer } = indexPack(thin, { bases: new Map([[nameOf(first), first]]) })
  t.equal(indexer.addedBases, 1)
  t.same(hexes(index.oids), [nameOf(third), nameOf(second), nameOf(first)])
  t.same([...index.bases], [1, 2, -1])
  t.same([...index.types], [0x83, 0x83, 3])
})

t.test('bases may stand behind their deltas when named', async (t) => {
  const [base, result] = [blob('the base'), blob('the result')]
  const { index } = indexPack(packOf([{ base: nameOf(base), delta: insertDelta(base.data, result.data) }, base]))
  t.same([...index.bases], [1, -1])
  t.same([...index.types], [0x83, 3])
  t.same([...index.sizes], [10, 8])
})

t.test('small blobs are shown to who wants to see them, whole or made by deltas', async (t) => {
  const [one, two] = [blob('one'), blob('x'.repeat(1024))]
  const seen: string[] = []
  const pack = packOf([one, blob('x'.repeat(1025)), treeOf(), { back: 3, delta: insertDelta(one.data, two.data) }])
  indexPack(pack, { onBlob: (data, oid) => seen.push(`${data.length} ${Buffer.from(oid).toString('hex')}`) })
  t.same(seen, [`3 ${nameOf(one)}`, `1024 ${nameOf(two)}`])
})

t.test('what nothing refers to is a root, what is not there is external with the types it may have', async (t) => {
  const text = blob('text')
  const absent = { blob: '01'.repeat(20), tree: 'ff'.repeat(20), commit: '02'.repeat(20), module: '03'.repeat(20), attributes: '04'.repeat(20) }
  const tree = treeOf(
    ['100644', '.gitattributes', absent.attributes],
    ['100644', '.gitmodules', absent.module],
    ['100644', 'a', nameOf(text)],
    ['120000', 'b', absent.blob],
    ['40000', 'c', absent.tree],
    ['160000', 'd', '05'.repeat(20)],
  )
  const commit = commitOf(nameOf(tree), absent.commit)
  const loose = blob('nobody refers to this')
  const { index, indexer } = indexPack(packOf([commit, tree, text, loose]))
  const { roots, externals, expected, special } = indexer.connect(index)
  t.same(hexes(roots!), [nameOf(commit), nameOf(loose)].toSorted())
  t.same(hexes(externals), [absent.blob, absent.commit, absent.module, absent.attributes, absent.tree])
  t.same([...expected], [4, 1, 4, 4, 2])
  t.same(
    special.map(({ kind, oid }) => [kind, Buffer.from(oid).toString('hex')]),
    [
      ['gitmodules', absent.module],
      ['gitattributes', absent.attributes],
    ],
  )
})

t.test('a whole history has one root and no externals', async (t) => {
  const pack = await packObjects(['--delta-base-offset'], 'v1\n')
  const { index, indexer } = indexPack(pack)
  const { roots, externals } = indexer.connect(index)
  t.same(hexes(roots!), [(await git(['rev-parse', 'refs/tags/v1'], { cwd: repository })).stdout.toString().trim()])
  t.equal(externals.length, 0)
})

t.test('more than 20,000 roots are not listed', async (t) => {
  const entries: Entry[] = Array.from({ length: 20_001 }, (_, i) => blob(`blob ${i}`))
  const pack = packOf(entries)
  const many = indexPack(pack)
  t.equal(many.indexer.connect(many.index).roots, null)
  const tree = packOf([treeOf(['100644', '0', nameOf(blob('blob 0'))], ['100644', '1', nameOf(blob('blob 1'))])])
  const both = Buffer.concat([pack.subarray(0, -20), tree.subarray(12, -20)])
  both.writeUInt32BE(20_002, 8)
  const few = indexPack(sealed(both))
  t.equal(few.indexer.connect(few.index).roots?.length, 20_000 * 20)
})

t.test('objects that are not what others take them for are refused', async (t) => {
  const text = blob('text')
  const wrong = indexPack(packOf([text, commitOf(nameOf(text))]))
  t.throws(() => wrong.indexer.connect(wrong.index), { code: 'bad-object', message: `object ${nameOf(text)} is a blob and is referred to as a tree` })
  const both = indexPack(packOf([treeOf(['100644', 'a', '01'.repeat(20)], ['40000', 'b', '01'.repeat(20)])]))
  t.throws(() => both.indexer.connect(both.index), { code: 'bad-object', message: `object ${'01'.repeat(20)} is referred to as two different types` })
})

t.test('offsets from 2 GiB on go to the second table of an .idx', async (t) => {
  const offsets = [12, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 2 ** 40]
  const oids = Buffer.concat(offsets.map((offset) => sha1(Buffer.from(String(offset)))))
  const rankOfRow = sortOids(oids, 5)
  const idx = encodeIndexFile({
    count: 5,
    packBytes: 2 ** 41,
    packSha1: Buffer.alloc(20, 1),
    offsets: Float64Array.from(offsets),
    sizes: new Float64Array(5),
    types: new Uint8Array(5).fill(3),
    bases: new Int32Array(5).fill(-1),
    crcs: Uint32Array.from([1, 2, 3, 4, 0xffffffff]),
    oids,
    rankOfRow,
    rowOfRank: Uint32Array.from([0, 1, 2, 3, 4], (rank) => rankOfRow.indexOf(rank)),
  })
  t.equal(idx.length, 8 + 1024 + 5 * 28 + 3 * 8 + 40)
  // In the order of the oids, which is that of 2 GiB, the byte before it, 12, 4 GiB and 5, 1 TiB.
  t.equal(
    idx.subarray(8 + 1024 + 5 * 24, -40).toString('hex'),
    ['80000000', '7fffffff', '0000000c', '80000001', '80000002', '0000000080000000', '0000000100000005', '0000010000000000'].join(''),
  )
  const { stdout } = await git(['show-index'], { input: idx })
  const shown = offsets.map((offset, i) => `${offset} ${hexes(oids)[i]} (${['00000001', '00000002', '00000003', '00000004', 'ffffffff'][i]})`)
  t.same(
    stdout.toString().trimEnd().split('\n'),
    [...rankOfRow].map((rank) => shown[rank]),
  )
})

t.test('many oids are sorted, also when they begin alike', async (t) => {
  const count = 5000
  const oids = Buffer.concat(Array.from({ length: count }, (_, i) => sha1(Buffer.from(String(i)))))
  for (let i = 0; i < 1000; i++) oids.fill(0xab, i * 20, i * 20 + 8)
  const order = sortOids(oids, count)
  const sorted = gatherOids(oids, order)
  t.same(hexes(sorted), hexes(oids).toSorted())
  t.equal(compareOids(sorted, 0, sorted, 20) < 0, true)
})

t.test('a set of references grows, keeps the and of the masks and its limit', async (t) => {
  const count = 3000
  const oids = Buffer.concat(Array.from({ length: count }, (_, i) => sha1(Buffer.from(String(i)))))
  for (let i = 0; i < 1000; i++) oids.fill(0, i * 20, i * 20 + 8)
  const set = new ReferenceSet(count)
  const numbers = Array.from({ length: count }, (_, i) => i)
  t.same(
    numbers.map((i) => set.add(oids, i * 20, 15)),
    numbers,
  )
  t.same(
    numbers.map((i) => set.add(oids, i * 20, 1 + (i % 4))),
    numbers,
  )
  t.equal(set.count, count)
  t.equal(set.find(oids, 2500 * 20), 2500)
  t.equal(set.maskOf(2501), 2)
  t.same(Buffer.from(set.oidOf(7)), oids.subarray(140, 160))
  t.equal(set.find(Buffer.alloc(20, 9), 0), -1)
  t.throws(() => set.add(Buffer.alloc(20, 9), 0, 15), { code: 'too-large', message: 'the pack refers to more than 3000 different objects' })
})
