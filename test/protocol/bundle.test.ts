import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { encodeBundleHeader, type BundleHeader, type BundleRef } from '../../protocol/bundle.js'
import type { Oid, RefName } from '../../protocol/types.js'
import { oidIn } from '../support/fetches.js'
import { git } from '../support/git.js'
import { importHistory } from '../support/histories.js'
import { refsIn } from '../support/pack-view.js'
import { collect } from '../support/wire.js'

const [one, two] = ['1'.repeat(40) as Oid, '2'.repeat(40) as Oid]
const main = { oid: one, name: 'refs/heads/main' as RefName }

const text = async (header: BundleHeader): Promise<string> => (await collect(encodeBundleHeader(header))).toString('latin1')

t.test('a header to the byte', async (t) => {
  t.equal(await text({ refs: [{ oid: one, name: 'HEAD' }, main] }), `# v2 git bundle\n${one} HEAD\n${one} refs/heads/main\n\n`)
  t.equal(
    await text({ refs: [main], prerequisites: [{ oid: two, comment: 'fix the\nübel' }, { oid: one }], filter: 'blob:none' }),
    `# v3 git bundle\n@object-format=sha1\n@filter=blob:none\n-${two} fix the \u00c3\u00bcbel\n-${one} \n${one} refs/heads/main\n\n`,
  )
})

t.test('what would be read as something else is refused', async (t) => {
  await t.rejects(text({ refs: [] }), { code: 'bad-request' })
  await t.rejects(text({ refs: [{ oid: one, name: 'refs/heads/a\nb' as RefName }] }), { code: 'bad-request' })
  await t.rejects(text({ refs: [{ oid: one, name: '' as RefName }] }), { code: 'bad-request' })
  for (const filter of ['', 'blob:none\n@x', 'blob:none\0']) await t.rejects(text({ refs: [main], filter }), { code: 'bad-request' })
})

t.test('many refs come in pieces', async (t) => {
  const refs = Array.from({ length: 50_000 }, (_, i): BundleRef => ({ oid: one, name: `refs/heads/branch-${i}` as RefName }))
  const pieces = [...encodeBundleHeader({ refs })].map((piece) => piece.length)
  t.ok(pieces.length > 20 && Math.max(...pieces) < 66_000, `${pieces.length} pieces`)
  t.equal(
    pieces.reduce((sum, length) => sum + length, 0),
    3_238_907,
  )
})

t.test('git verifies, clones and fetches bundles with our header: whole, after what it has, and filtered', async (t) => {
  const dir = t.testdir()
  const bare = join(dir, 'origin')
  mkdirSync(bare)
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, 520)
  const head = await oidIn(bare, 'main')
  const refs: BundleRef[] = [{ oid: head, name: 'HEAD' }, ...(await refsIn(bare))]
  const make = async (name: string, header: Omit<BundleHeader, 'refs'>, args: readonly string[], revs: readonly string[]): Promise<string> => {
    const input = Buffer.from(revs.map((rev) => `${rev}\n`).join(''))
    const { stdout } = await git(['pack-objects', '-q', '--revs', '--stdout', '--delta-base-offset', ...args], { cwd: bare, input })
    const path = join(dir, name)
    writeFileSync(path, Buffer.concat([...encodeBundleHeader({ refs, ...header }), stdout]))
    return path
  }
  const tips = refs.map(({ oid }) => oid)

  const whole = await make('whole.bundle', {}, [], tips)
  t.match((await git(['bundle', 'verify', whole], { cwd: bare })).stdout.toString(), /contains these 4 refs[^]*records a complete history/)
  const clone = join(dir, 'clone')
  await git(['clone', '-q', whole, clone])
  t.equal(await oidIn(clone, 'HEAD'), head)
  t.equal(await oidIn(clone, 'origin/side'), await oidIn(bare, 'side'))
  await git(['fsck', '--strict'], { cwd: clone })

  const old = await oidIn(bare, 'main~100')
  const rest = await make('rest.bundle', { prerequisites: [{ oid: old, comment: 'a subject' }] }, ['--thin'], [...tips, `^${old}`])
  const client = join(dir, 'client')
  await git(['init', '-q', '--bare', client])
  t.match(await git(['bundle', 'verify', rest], { cwd: client, ok: false }), {
    code: 1,
    stderr: new RegExp(`lacks these prerequisite commits:\\s+error: ${old}`),
  })
  await git(['fetch', '-q', bare, `${old}:refs/heads/old`, '--no-tags'], { cwd: client })
  await git(['fetch', '-q', rest, 'refs/heads/*:refs/heads/*'], { cwd: client })
  t.equal(await oidIn(client, 'main'), head)
  await git(['fsck', '--strict'], { cwd: client })

  const partial = await make('partial.bundle', { filter: 'blob:none' }, ['--filter=blob:none'], tips)
  t.match((await git(['bundle', 'verify', partial], { cwd: bare })).stdout.toString(), /uses this filter: blob:none/)
  const lazy = join(dir, 'lazy')
  await git(['init', '-q', '--bare', lazy])
  const { stdout } = await git(['bundle', 'unbundle', partial], { cwd: lazy })
  t.match(stdout.toString(), `${head} refs/heads/main\n`)
  t.equal((await git(['cat-file', '-t', `${head}^{tree}`], { cwd: lazy })).stdout.toString(), 'tree\n')
  const [blob] = (await git(['ls-tree', '-r', '--format=%(objectname)', 'main'], { cwd: bare })).stdout.toString().split('\n')
  t.match(await git(['cat-file', '-e', blob!], { cwd: lazy, ok: false }), { code: 1 })
})
