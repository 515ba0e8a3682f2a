import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import t from 'tap'
import { encodeEntryHeader, type EntryType } from '../../protocol/pack/entry.js'
import { git } from '../support/git.js'
import { create, filesBelow, health, history, makeEmpty, pushOne, refsOf, residentBytes, spoolOf, zero } from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { blob, commitOf, insertDelta, nameOf, packOf, resealed, sealed, sizeVarint, treeOf, type Base, type Entry } from '../support/packs.js'

const hub = await startHub(t)
const { file, tree, commit, oid: tip, pack: whole } = history('hello\n')

const zeros = (bytes: number, first = 0): Entry & { data: Buffer } => {
  const data = Buffer.alloc(bytes)
  data[0] = first
  return { type: 3, data }
}

/** An entry that states another size than its stream has. */
const lying = (type: EntryType, stated: number, data: Buffer): Buffer => Buffer.concat([encodeEntryHeader(type, stated), deflateSync(data)])

function packOfRaw(count: number, ...entries: readonly Buffer[]): Buffer {
  const header = Buffer.from('PACK\0\0\0\x02\0\0\0\0', 'latin1')
  header.writeUInt32BE(count, 8)
  return sealed(Buffer.concat([header, ...entries]))
}

const pushed = (pack: Buffer, repo: string, command = create(tip)): Promise<string> => pushOne(hub, repo, pack, command)

t.test('bombs of zlib are put out, and the pusher is told', async (t) => {
  const repo = await makeEmpty(hub, 'zip-bombs')
  const before = await residentBytes(hub)
  t.equal(await pushed(packOfRaw(1, lying(3, 10, Buffer.alloc(90_000_000))), repo), 'object 1 of 1: inflates to more than the 10 bytes it states')
  t.equal(await pushed(packOf([zeros(70 * 2 ** 20)]), repo), 'object 1 of 1: the pack inflates to more than 1000 times its size')
  t.match(await pushed(packOfRaw(1, lying(3, 101 * 2 ** 20, Buffer.alloc(9))), repo), 'blob of 105906176 bytes is over the limit of 104857600')
  t.match(await pushed(packOfRaw(1, lying(2, 51 * 2 ** 20, Buffer.alloc(9))), repo), 'tree of 53477376 bytes is over the limit of 52428800')
  t.match(await pushed(packOfRaw(1, lying(3, 2 ** 45, Buffer.alloc(9))), repo), 'is over the limit of 104857600')
  t.ok((await residentBytes(hub)) - before < 300 * 2 ** 20, 'memory stays')
  t.same(await refsOf(hub, repo), {})
  await health(hub)
})

t.test('bombs of deltas are put out', async (t) => {
  const repo = await makeEmpty(hub, 'delta-bombs')
  const bomb: Entry[] = [zeros(2 ** 20)]
  for (let size = 2 ** 20; size < 2 ** 40; size *= 2) {
    const copies = Array.from({ length: 32 }, () => Buffer.from([0xf0, 0, 0, 1]))
    bomb.push({ back: 1, delta: Buffer.concat([sizeVarint(size), sizeVarint(size * 2), ...copies]) })
  }
  t.match(await pushed(packOf(bomb), repo), /^object \d+ of 21: object of \d+ bytes is over the limit of 104857600$/)

  const chain: Entry[] = [blob('version 0')]
  for (let i = 1; i <= 4097; i++) chain.push({ back: 1, delta: insertDelta(Buffer.from(`version ${i - 1}`), Buffer.from(`version ${i}`)) })
  t.match(await pushed(packOf(chain), repo), 'ends a chain of more than 4095 deltas')
  t.same(await refsOf(hub, repo), {})
})

t.test('deltas in a circle, of themselves and of nothing are refused', async (t) => {
  const repo = await makeEmpty(hub, 'circles')
  const other = blob('other')
  const circle = packOf([
    { base: nameOf(other), delta: insertDelta(other.data, file.data) },
    { base: nameOf(file), delta: insertDelta(file.data, other.data) },
  ])
  t.match(await pushed(circle, repo), 'which is not to be had')
  t.match(await pushed(packOf([{ base: nameOf(file), delta: insertDelta(file.data, file.data) }]), repo), 'which is not to be had')
  t.match(await pushed(packOf([{ base: '1'.repeat(40), delta: insertDelta(file.data, file.data) }]), repo), 'which is not to be had')
  t.same(await refsOf(hub, repo), {})
})

t.test('lying counts, sizes and ends are refused, impossible counts without the memory for them', async (t) => {
  const repo = await makeEmpty(hub, 'liars')
  const entries: Entry[] = [commit, tree, file]
  const before = await residentBytes(hub)
  t.match(await pushed(packOf(entries, 2), repo), 'after the last of its 2 objects')
  t.match(await pushed(packOf(entries, 0), repo), 'after the last of its 0 objects')
  t.match(await pushed(packOf(entries, 4), repo), 'pack ends early')
  t.match(await pushed(packOf(entries, 4_999_999), repo), 'pack ends early')
  t.match(await pushed(packOf(entries, 2 ** 32 - 1), repo), 'pack of 4294967295 objects is over the limit of 5000000')
  t.match(await pushed(packOfRaw(1, lying(3, 5, file.data)), repo), 'inflates to more than the 5 bytes it states')
  t.match(await pushed(packOfRaw(1, lying(3, 7, file.data)), repo), 'inflates to 6 bytes and not the 7 it states')
  t.match(await pushed(Buffer.concat([whole, Buffer.from('x')]), repo), 'has 1 bytes after the last of its 3 objects')
  t.match(await pushed(Buffer.concat([whole, whole]), repo), 'after the last of its 3 objects')
  t.match(await pushed(Buffer.from('PACK is not here at all, and never was'), repo), /not supported|not a pack/)
  t.match(await pushed(packOf([commit, tree, file, file]), repo), 'is in the pack twice')
  t.match(await pushed(packOf([commit, tree]), repo), 'missing')
  t.ok((await residentBytes(hub)) - before < 200 * 2 ** 20, 'memory stays')
  t.same(await refsOf(hub, repo), {})
  t.equal(await pushed(whole, repo), 'ok refs/heads/main', 'the honest one')
})

t.test('a pack that is cut off is refused at every length', async (t) => {
  const repo = await makeEmpty(hub, 'cut')
  for (let length = 0; length < whole.length; length += 1) {
    const outcome = await pushed(whole.subarray(0, length), repo)
    t.not(outcome, 'ok refs/heads/main', `${length} bytes`)
    if (!/^(pack|the pack|this is no|object|no pack)|ends early/.test(outcome)) t.fail(`${length} bytes: ${outcome}`)
  }
  t.same(await refsOf(hub, repo), {})
  await health(hub)
})

t.test('every bit of a pack flipped: refused, and with a trailer to match never taken for other content', async (t) => {
  let repo = await makeEmpty(hub, 'flipped')
  let repos = 1
  let worst = 0
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const pack = Buffer.from(whole)
    pack[bit >> 3]! ^= 1 << (bit & 7)
    const outcome = await pushed(pack, repo)
    if (/^(ok|ng|status)/.test(outcome)) t.fail(`bit ${bit}: ${outcome}`)
    if (bit >= (whole.length - 20) * 8) continue
    const matching = await pushed(resealed(pack), repo)
    if (matching.startsWith('status')) t.fail(`bit ${bit}, resealed: ${matching}`)
    if (matching === 'ok refs/heads/main') {
      // Bits that nobody looks at: what comes out is what it was.
      const { stdout } = await git(['-c', 'fetch.fsckObjects=true', 'clone', '-q', '--bare', hub.remote(repo), join(t.testdir(), 'clone')])
      t.equal(stdout.toString(), '')
      const objects = await git(['rev-list', '--objects', '--all'], { cwd: join(t.testdirName, 'clone') })
      t.same(
        objects.stdout
          .toString()
          .trim()
          .split('\n')
          .map((line) => line.slice(0, 40)),
        [tip, nameOf(tree), nameOf(file)],
        `bit ${bit}`,
      )
      repo = await makeEmpty(hub, `flipped-${repos++}`)
    }
    if (bit % 100 === 0) worst = Math.max(worst, await health(hub))
  }
  t.same(await refsOf(hub, repo), {})
  t.ok(worst < 1_000, `/healthz took ${worst} ms`)
  t.same(await filesBelow(spoolOf(hub)), [])
  t.comment(`${whole.length} bytes, ${repos - 1} flips without effect`)
})

t.test('tree entries that attack a checkout are refused by name, what old histories contain is taken', async (t) => {
  const repo = await makeEmpty(hub, 'attacks')
  const link = blob('target')
  const modules = (text: string): Base & { data: Buffer } => ({ type: 3, data: Buffer.from(text) })
  const attack = (mode: string, name: string, content: Base & { data: Buffer } = link): Promise<string> => {
    const tree = { type: 2 as const, data: Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(nameOf(content), 'hex')]) }
    const commit = commitOf(nameOf(tree))
    return pushed(packOf([commit, tree, content]), repo, [zero, nameOf(commit), `refs/heads/b${branches++}`])
  }
  let branches = 0
  const names = [
    '.git',
    '.GIT',
    '.Git',
    'git~1',
    'GIT~1',
    '.git.',
    '.git ',
    '.git::$INDEX_ALLOCATION',
    '.g\u200cit',
    '.git\ufeff',
    '..',
    '.',
    '',
    'a/b',
    'a\\.git',
  ]
  for (const name of names) t.match(await attack('100644', name), /^tree [0-9a-f]{40}: /, JSON.stringify(name))
  for (const name of ['.gitmodules', 'GITMOD~1', '.gitmodules ', '.git\u200dmodules']) {
    t.match(await attack('120000', name), /^(tree|blob) [0-9a-f]{40}: /, `${JSON.stringify(name)} as a symbolic link`)
  }
  const sections = [
    '[submodule "../x"]\n\tpath = x\n\turl = https://example.com/x\n',
    '[submodule "x"]\n\tpath = x\n\turl = -ux\n',
    '[submodule "x"]\n\tpath = -x\n\turl = https://example.com/x\n',
    '[submodule "x"]\n\tpath = x\n\turl = https://example.com/x\n\tupdate = !touch pwned\n',
  ]
  for (const text of sections) t.match(await attack('100644', '.gitmodules', modules(text)), /[0-9a-f]{40}: /, text)
  t.match(await attack('777', 'mode'), /^tree [0-9a-f]{40}: /)

  // Found in well-known histories: git fsck only remarks on it.
  t.match(await attack('040000', 'padded', treeOf()), /^ok /)
  t.match(await attack('100664', 'group-writable'), /^ok /)
  t.match(await attack('100645', 'odd'), /^ok /)
  t.equal(Object.keys(await refsOf(hub, repo)).filter((name) => name.startsWith('refs/')).length, 3)
  await health(hub)
})

t.test('commits that old tools wrote badly are taken, and the API shows their repositories', async (t) => {
  const idents = [
    'A U Thor <author@example.com> 1700000000 +9999999',
    'A U Thor <author@example.com> 1700000000 zone',
    'A U Thor <author@example.com> 1700000000',
    'A U Thor <author@example.com>1700000000 +0000',
    'A U Thor<author@example.com> 1700000000 +0000',
    'A U Thor 1700000000 +0000',
    ' <> 0 +0000',
    '<> 8640000000000 -0000',
    'A\xff\xfeU <\xe9> 1700000000 +0000',
    '',
  ]
  for (const [i, ident] of idents.entries()) {
    const repo = await makeEmpty(hub, `old-${i}`)
    const old = { type: 1 as const, data: Buffer.from(`tree ${nameOf(tree)}\nauthor ${ident}\ncommitter ${ident}\n\nold\n`, 'latin1') }
    const outcome = await pushed(packOf([old, tree, file]), repo, [zero, nameOf(old), 'refs/heads/main'])
    t.match(outcome, /^ok |^commit [0-9a-f]{40}: /, JSON.stringify(ident))
    if (!outcome.startsWith('ok')) continue
    const info = await hub.api('GET', `/api/models/${repo}`)
    t.equal(info.status, 200, `${JSON.stringify(ident)}: ${JSON.stringify(info.body)}`)
  }
})

t.test('a tree that unfolds to ten thousand million paths costs no more than its ten objects, and deep ones do no harm', async (t) => {
  const repo = await makeEmpty(hub, 'git-bomb')
  const objects: (Base & { data: Buffer })[] = [file]
  let top = file as Base & { data: Buffer }
  for (let level = 0; level < 10; level++) {
    const mode = level === 0 ? '100644' : '40000'
    const names = Array.from({ length: 10 }, (_, i) => `d${i}`)
    top = treeOf(...names.map((name): [string, string, string] => [mode, name, nameOf(top)]))
    objects.push(top)
  }
  const bomb = commitOf(nameOf(top))
  const started = performance.now()
  t.equal(await pushed(packOf([bomb, ...objects]), repo, [zero, nameOf(bomb), 'refs/heads/main']), 'ok refs/heads/main')
  await git(['clone', '-q', '--bare', hub.remote(repo), join(t.testdir(), 'bomb.git')])
  const took = performance.now() - started
  t.ok(took < 15_000, `${Math.round(took)} ms`)
  const info = await hub.api('GET', `/api/models/${repo}`)
  t.ok(info.status < 500, `the repository's page of the API answers ${info.status}`)

  const deep: (Base & { data: Buffer })[] = [file]
  let below = treeOf(['100644', 'leaf', nameOf(file)])
  for (let level = 0; level < 20_000; level++) {
    deep.push(below)
    below = treeOf(['40000', 'd', nameOf(below)])
  }
  const commit = commitOf(nameOf(below))
  const outcome = await pushed(packOf([commit, ...deep, below]), await makeEmpty(hub, 'deep'), [zero, nameOf(commit), 'refs/heads/main'])
  t.notMatch(outcome, 'status 5', outcome)
  if (outcome.startsWith('ok')) await git(['clone', '-q', '--bare', hub.remote('admin/deep'), join(t.testdirName, 'deep.git')])
  t.comment(`20,000 deep: ${outcome}`)
  t.ok((await health(hub)) < 1_000)
})

t.test('far bases and copies of 65,536 bytes come out as git reads them', async (t) => {
  const repo = await makeEmpty(hub, 'quirks')
  const base = blob('0123456789abcdef'.repeat(4096 * 2))
  const result = { type: 3 as const, data: base.data.subarray(0, 65_536) }
  // A copy whose size bytes are all absent is 65,536 long.
  const delta = Buffer.concat([sizeVarint(base.data.length), sizeVarint(65_536), Buffer.from([0x80])])
  const fillers = Array.from({ length: 300 }, (_, i) => blob(`filler ${i} ${'#'.repeat(i)}`))
  const tree = treeOf(['100644', 'base', nameOf(base)], ['100644', 'cut', nameOf(result)])
  const commit = commitOf(nameOf(tree))
  const pack = packOf([commit, tree, base, ...fillers, { back: 301, delta }])
  t.equal(await pushed(pack, repo, [zero, nameOf(commit), 'refs/heads/main']), 'ok refs/heads/main')
  const cwd = join(t.testdir(), 'clone')
  await git(['clone', '-q', '--bare', hub.remote(repo), cwd])
  t.ok((await git(['cat-file', 'blob', 'main:cut'], { cwd })).stdout.equals(result.data))
})
