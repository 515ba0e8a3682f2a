import { join } from 'node:path'
import t from 'tap'
import { buildRootCommit, type CommitFile } from '../../../src/repos/commit-builder.js'
import { streamPack, type PackObject } from '../../../src/repos/pack-stream.js'
import { git } from '../../support/git.js'
import { indexPack } from '../../support/packs.js'

const author = { name: 'Zoë', email: 'zoe@example.com', seconds: 1_700_000_000, timezone: '+0000' }
const file = (path: string, content = path): CommitFile => ({ path, content: Buffer.from(content) })
const build = (files: readonly CommitFile[], message = 'initial commit\n') => buildRootCommit(files, message, author)

const packOf = async (objects: readonly PackObject[]): Promise<Buffer> => Buffer.concat(await Array.fromAsync(streamPack(objects)))

/** A repository into which real git has taken the pack, strictly. */
async function takenByGit(t: { testdir(): string }, pack: Buffer): Promise<(...args: string[]) => Promise<string>> {
  const cwd = join(t.testdir(), 'repo')
  await git(['init', '-q', '--bare', cwd])
  await git(['index-pack', '--strict', '--stdin'], { cwd, input: pack })
  return async (...args) => (await git(args, { cwd })).stdout.toString('utf8')
}

t.test('git takes the pack and finds exactly the files', async (t) => {
  const files = [
    file('README.md', '# Hello\n'),
    file('a/b/c/deep.txt'),
    file('a/b.txt'),
    file('a.b/x'),
    file('a-b'),
    file('日本/é.txt', 'ünï'),
    file('empty', ''),
    { path: 'data.bin', content: Uint8Array.from({ length: 50_000 }, (_, i) => Math.imul(i, 2654435761) >>> 13) },
    file('copy of README', '# Hello\n'),
  ]
  const { oid, objects } = build(files)
  const pack = await packOf(objects)
  const run = await takenByGit(t, pack)
  await run('update-ref', 'refs/heads/main', oid)
  await run('fsck', '--strict', '--full')
  t.same((await run('ls-tree', '-r', '-z', '--name-only', oid)).split('\0').filter(Boolean), [
    'README.md',
    'a-b',
    'a.b/x',
    'a/b.txt',
    'a/b/c/deep.txt',
    'copy of README',
    'data.bin',
    'empty',
    '日本/é.txt',
  ])
  t.match(await run('ls-tree', '-r', oid), /^(100644 blob [0-9a-f]{40}\t.*\n){9}$/)
  for (const { path, content } of files.filter(({ path }) => path !== 'data.bin'))
    t.equal(await run('show', `${oid}:${path}`), Buffer.from(content).toString(), path)
  t.equal((await run('cat-file', '-s', `${oid}:data.bin`)).trim(), '50000')
  t.equal(await run('log', '--format=%an|%ae|%at|%cn|%P|%s', oid), 'Zoë|zoe@example.com|1700000000|Zoë||initial commit\n')
  t.equal(indexPack(pack).index.count, 8 + 6 + 1, 'equal contents are one blob; six trees, one commit')
})

t.test('a commit of nothing has the empty tree', async (t) => {
  const { oid, objects } = build([])
  const run = await takenByGit(t, await packOf(objects))
  t.equal((await run('rev-parse', `${oid}^{tree}`)).trim(), '4b825dc642cb6eb9a060e54bf8d69288fbee4904')
})

t.test('the same files make the same commit, in any order; the last of one path counts', async (t) => {
  const files = [file('b/2'), file('a'), file('b/1')]
  t.equal(build(files).oid, build(files.toReversed()).oid)
  t.equal(build([file('a', 'old'), ...files]).oid, build(files).oid)
  t.not(build(files, 'other').oid, build(files).oid)
})

t.test('paths that no checkout could hold are refused', async (t) => {
  const invalid: readonly (readonly [readonly CommitFile[], string])[] = [
    [[file('')], 'not a path of a file: ""'],
    [[file('/a')], 'not a path of a file: "/a"'],
    [[file('a/')], 'not a path of a file: "a/"'],
    [[file('a//b')], 'not a path of a file: "a//b"'],
    [[file(`${'d/'.repeat(64)}f`)], `not a path of a file: "${'d/'.repeat(64)}f"`],
    [[file('x'.repeat(4097))], `not a path of a file: "${'x'.repeat(200)}"`],
    [[file('a'), file('a/b')], '"a/b" needs a folder where a file is'],
    [[file('a/b'), file('a')], '"a" is a folder already'],
  ]
  for (const [files, message] of invalid) t.throws(() => build(files), { name: 'HubError', code: 'invalid', message })
  for (const path of ['..', 'a/../b', '.git/config', 'GIT~1/hooks', 'a/.g\u200cit', 'x'.repeat(256), 'a\0b'])
    t.throws(() => build([file(path)]), { code: 'bad-object' }, JSON.stringify(path))
})
