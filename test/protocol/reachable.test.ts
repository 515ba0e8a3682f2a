import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ProtocolError } from '../../protocol/errors.js'
import type { PackView, Slices } from '../../protocol/ports.js'
import { reaches } from '../../protocol/reachable.js'
import type { Oid } from '../../protocol/types.js'
import { oidIn } from '../support/fetches.js'
import { git } from '../support/git.js'
import { importHistory } from '../support/histories.js'
import { altered, memoryPack, packView, viewOf, type MemoryView } from '../support/pack-view.js'
import { blob, commitOf, nameOf, packOf, treeOf } from '../support/packs.js'
import { noSlices, oidOf } from '../support/wire.js'

const dir = t.testdir()
let bare = ''
let view: MemoryView

t.before(async () => {
  bare = join(dir, 'origin')
  mkdirSync(bare)
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, 500)
  await git(['tag', '-m', 'of a tag', 'nested', 'v500'], { cwd: bare })
  await git(['tag', '-m', 'of a tree', 'tree', 'main^{tree}'], { cwd: bare })
  await git(['repack', '-a', '-d', '-q', '--no-write-bitmap-index'], { cwd: bare })
  view = await viewOf(bare)
})

const ask = (on: PackView, wants: readonly Oid[], haves: readonly Oid[], slices: Slices = noSlices) => reaches(on, wants, haves, { slices })

async function between(wants: readonly string[], haves: readonly string[]): Promise<boolean> {
  const [of, to] = await Promise.all([wants, haves].map((list) => Promise.all(list.map((name) => oidIn(bare, name)))))
  return ask(view, of!, to!)
}

t.test('one commit is reached from another exactly when git says so', async (t) => {
  const { stdout } = await git(['rev-list', '--all', '--topo-order'], { cwd: bare })
  const commits = stdout.toString().split('\n').filter(Boolean) as Oid[]
  const some = commits.filter((_, i) => i % 37 === 0)
  const said: boolean[] = []
  for (const want of some) {
    for (const have of some) {
      const { code } = await git(['merge-base', '--is-ancestor', have, want], { cwd: bare, ok: false })
      said.push(await ask(view, [want], [have]))
      if (said.at(-1) !== (code === 0)) t.fail(`${want} reaches ${have}: git says ${code === 0}`)
    }
  }
  t.same([said.length, new Set(said).size], [some.length ** 2, 2])
})

t.test('every want needs a path, to whichever have', async (t) => {
  t.equal(await between(['main', 'side'], ['main~20']), true)
  t.equal(await between(['main'], ['side']), true)
  t.equal(await between(['side'], ['main']), false)
  t.equal(await between(['side', 'main'], ['side', 'main~1']), true)
  t.equal(await between(['main', 'side'], ['main']), false)
  t.equal(await between(['main~100'], ['main~50', 'main~150']), true)
  t.equal(await between(['main~100'], ['main~50', 'main~70']), false)
  t.equal(await between(['main'], ['main']), true, 'a want that is a have')
})

t.test('nothing is reached without haves that are commits', async (t) => {
  t.equal(await between(['main'], []), false)
  t.equal(await between(['main'], ['main^{tree}']), false)
  t.equal(await ask(view, [await oidIn(bare, 'main')], [oidOf('7')]), false, 'nor by a have nobody knows')
})

t.test('tags count as what they finally name', async (t) => {
  t.equal(await between(['nested'], ['v500~3']), true)
  t.equal(await between(['main'], ['nested']), true)
  t.equal(await between(['nested~1'], ['nested']), false)
})

t.test('a want that is no commit stands against nothing', async (t) => {
  t.equal(await between(['main^{tree}', 'tree', 'main:bin', 'main'], ['main~1']), true)
  t.equal(await between(['main^{tree}', 'main~1'], ['main']), false)
})

/** Commits of one tree, by what each is called: parents first. */
function historyOf(commits: Readonly<Record<string, readonly [seconds: number, ...parents: string[]]>>): {
  view: MemoryView
  oid(name: string): Oid
} {
  const tree = treeOf(['100644', 'file', nameOf(blob('x'))])
  const names = new Map<string, string>()
  const objects = Object.entries(commits).map(([name, [seconds, ...parents]]) => {
    const made = commitOf(nameOf(tree), ...parents.map((parent) => names.get(parent)!))
    const data = Buffer.from(made.data.toString().replaceAll('1700000000', String(seconds)).replace('message', name))
    names.set(name, nameOf({ type: 1, data }))
    return { type: 1 as const, data }
  })
  return { view: packView([memoryPack(packOf([...objects, tree, blob('x')]))]), oid: (name) => names.get(name) as Oid }
}

t.test('wrong clocks never make a path where there is none', async (t) => {
  const { view, oid } = historyOf({
    root: [9000],
    old: [10, 'root'],
    young: [20, 'old'],
    tip: [5000, 'young'],
    other: [99_999, 'root'],
    cousin: [1, 'other'],
  })
  const names = ['root', 'old', 'young', 'tip', 'other', 'cousin']
  const line: Readonly<Record<string, readonly string[]>> = {
    root: ['root'],
    old: ['old', 'root'],
    young: ['young', 'old', 'root'],
    tip: ['tip', 'young', 'old', 'root'],
    other: ['other', 'root'],
    cousin: ['cousin', 'other', 'root'],
  }
  const yes: string[] = []
  for (const want of names) for (const have of names) if (await ask(view, [oid(want)], [oid(have)])) yes.push(`${want} ${have}`)
  t.same(
    yes.filter((pair) => !line[pair.split(' ')[0]!]!.includes(pair.split(' ')[1]!)),
    [],
  )
  // Behind a commit that claims to be older than the have nobody looks: the client is asked for more.
  for (const pair of ['tip young', 'tip old', 'young old', 'other root', 'root root']) t.ok(yes.includes(pair), pair)
  t.notOk(yes.includes('tip root'))
})

t.test('each commit is looked at once, however many ways lead to it', async (t) => {
  const commits: Record<string, readonly [number, ...string[]]> = { '0a': [1], '0b': [1] }
  for (let i = 1; i <= 200; i++) {
    commits[`${i}a`] = [i + 1, `${i - 1}a`, `${i - 1}b`]
    commits[`${i}b`] = [i + 1, `${i - 1}b`, `${i - 1}a`]
  }
  commits['alone'] = [1]
  const { view, oid } = historyOf(commits)
  let steps = 0
  const slices = { pause: () => void steps++ }
  t.equal(await ask(view, [oid('200a'), oid('200b')], [oid('alone')], slices), false)
  t.ok(steps < 2000, `${steps} steps`)
  t.equal(await ask(view, [oid('200a'), oid('200b')], [oid('0b')], slices), true)
})

t.test('a line of 3,000 commits is walked without recursion, and the client may leave', async (t) => {
  const commits: Record<string, readonly [number, ...string[]]> = { '0': [1] }
  for (let i = 1; i < 3000; i++) commits[i] = [i, String(i - 1)]
  const { view, oid } = historyOf(commits)
  t.equal(await ask(view, [oid('2999')], [oid('0')]), true)
  let left = 100
  const slices = {
    pause() {
      if (--left < 0) throw new ProtocolError('cancelled', 'the client left')
      return Promise.resolve()
    },
  }
  await t.rejects(ask(view, [oid('2999')], [oid('0')], slices), { code: 'cancelled' })
})

t.test('a parent that is missing or no commit is corrupt', async (t) => {
  const { view, oid } = historyOf({ root: [1], middle: [2, 'root'], tip: [3, 'middle'], elsewhere: [1] })
  const middle = view.named(oid('middle'))
  const lacking = altered(view, { find: (name, use) => (Buffer.from(name).toString('hex') === oid('middle') ? -1 : view.find(name, use)) })
  await t.rejects(ask(lacking, [oid('tip')], [oid('root')]), { code: 'corrupt', message: `object ${oid('middle')} is missing` })
  const typed = altered(view, { typeOf: (entry) => (entry === middle ? 3 : view.typeOf(entry)) })
  await t.rejects(ask(typed, [oid('tip')], [oid('root')]), { code: 'corrupt', message: `object ${oid('middle')} is not a commit` })
})
