import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { git } from './git.js'
import {
  commitFile,
  countCommits,
  filesIn,
  gitClone,
  knownRefs,
  namedBranch,
  privateRepo,
  remoteRefs,
  sameAsGitClone,
  soundClone,
  sourceHistory,
  type ClientCase,
  type GitClient,
} from './git-client.js'
import type { Hub } from './hub.js'
import { gitText } from './hub-git.js'

type Tap = Pick<Test, 'test'>
type Story = (t: Tap, hub: Hub, client: ClientCase) => void

let told = 0

/** One behaviour of a client, in a private repository of its own and a folder. */
function story(what: string, tell: (t: Test, scene: { client: GitClient; hub: Hub; url: string; dir: string }) => Promise<void>): Story {
  return (t, hub, { name, found }) => {
    void t.test(`${name} ${what}`, { skip: found.missing }, async (t) => {
      await tell(t, { client: found.tool!, hub, url: await privateRepo(hub, `told-${++told}`), dir: t.testdir() })
    })
  }
}

/** Somebody with git pushes all that there is. */
async function pushHistory(url: string): Promise<void> {
  await git(['push', '-q', '--mirror', url], { cwd: await sourceHistory() })
}

export const clones = story('clones what git clones: merges, annotated tags, a branch that is not ASCII', async (t, { client, url, dir }) => {
  await pushHistory(url)
  const clone = join(dir, 'clone')
  await client.clone(url, clone)
  await sameAsGitClone(t, clone, url)
  t.equal(await countCommits(clone, '--all'), 297)
  t.equal(await countCommits(clone, `origin/${namedBranch}`), 292)
  t.equal(await gitText(clone, 'cat-file', '-t', 'nested'), 'tag')
})

export const needsToken = story('clones a private repository with its token, and with nothing else', async (t, { client, hub, url, dir }) => {
  const work = join(dir, 'work')
  await git(['init', '-q', work])
  await commitFile(work, 'secret.txt', 'for us alone\n')
  await git(['push', '-q', url, 'main'], { cwd: work })
  const wrong = url.replace(hub.token, `hf_${'x'.repeat(34)}`)
  for (const [who, address] of [
    ['nobody', url.replace(/\/\/.*@/, '//')],
    ['a stranger', wrong],
  ] as const) {
    const folder = join(dir, who)
    await t.rejects(client.clone(address, folder), /auth|\b401\b|credential|password/i, who)
    const files = existsSync(folder) ? await readdir(folder, { recursive: true }) : []
    t.notOk(files.includes('secret.txt'), `${who} has no file`)
  }
  await client.clone(url, join(dir, 'clone'))
  await sameAsGitClone(t, join(dir, 'clone'), url)
})

export const fetches = story('fetches what was pushed, moved by force and tagged since', async (t, { client, url, dir }) => {
  await pushHistory(url)
  const clone = join(dir, 'clone')
  await client.clone(url, clone)
  const work = await gitClone(url, dir)
  await commitFile(work, 'new/file.txt', 'new\n'.repeat(1000))
  await git(['merge', '-q', '--no-ff', '-m', 'merge side', 'origin/side'], { cwd: work })
  const tip = await commitFile(work, 'binary', Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * i) & 0xff)))
  await git(['tag', '-a', '-m', 'second', 'v2'], { cwd: work })
  await git(['push', '-q', 'origin', 'main', 'v2', 'main~1:refs/heads/topic/ünï', '+main~5:refs/heads/side'], { cwd: work })
  for (const round of ['what is new', 'nothing']) {
    await client.fetch(clone)
    await soundClone(clone)
    t.same(await knownRefs(clone), await knownRefs(work), round)
  }
  t.equal(await gitText(clone, 'rev-parse', 'origin/main', 'v2^{commit}'), `${tip}\n${tip}`)
  await git(['merge', '-q', '--ff-only', 'origin/main'], { cwd: clone })
  await sameAsGitClone(t, clone, url)
})

export const pushes = story('pushes forward, a new branch, by force, tags, and deletes', async (t, { client, url, dir }) => {
  await pushHistory(url)
  const clone = join(dir, 'clone')
  await client.clone(url, clone)
  const before = await remoteRefs(url)
  const expected = new Map(before.map((line) => line.split('\t').toReversed() as [string, string]))
  const push = async (what: string, ...refspecs: string[]) => {
    await client.push(clone, refspecs)
    const refs = [...expected].map(([name, oid]) => `${oid}\t${name}`)
    t.same((await remoteRefs(url)).toSorted(), refs.toSorted(), what)
  }

  expected.set('refs/heads/main', await commitFile(clone, 'src/added.txt', 'one line\n'.repeat(500)))
  await push('forward', 'refs/heads/main:refs/heads/main')

  await git(['checkout', '-q', '-b', 'new/ast-ä'], { cwd: clone })
  await commitFile(clone, 'binary', Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i * 31) >>> 7)))
  await git(['merge', '-q', '--no-ff', '-m', 'merge side', 'origin/side'], { cwd: clone })
  expected.set('refs/heads/new/ast-ä', await commitFile(clone, 'src/added.txt', 'one line\n'.repeat(501)))
  await push('a new branch', 'refs/heads/new/ast-ä:refs/heads/new/ast-ä')

  expected.set('refs/heads/copy', await gitText(clone, 'rev-parse', 'main~7'))
  await git(['branch', 'copy', 'main~7'], { cwd: clone })
  await push('a branch at a commit that is there', 'refs/heads/copy:refs/heads/copy')

  await git(['commit', '-q', '--amend', '-m', 'said better'], { cwd: clone })
  expected.set('refs/heads/new/ast-ä', await gitText(clone, 'rev-parse', 'HEAD'))
  await push('by force', '+refs/heads/new/ast-ä:refs/heads/new/ast-ä')

  await git(['tag', '-a', '-m', 'second', 'v2'], { cwd: clone })
  expected.set('refs/tags/v2', await gitText(clone, 'rev-parse', 'v2'))
  expected.set('refs/tags/v2^{}', await gitText(clone, 'rev-parse', 'v2^{}'))
  await push('an annotated tag', 'refs/tags/v2:refs/tags/v2')

  expected.delete('refs/heads/copy')
  await push('a delete', ':refs/heads/copy')
  expected.delete('refs/tags/light')
  await push('a delete of a tag', ':refs/tags/light')

  const reference = join(dir, 'reference')
  await git(['clone', '-q', '-b', 'new/ast-ä', url, reference])
  await soundClone(reference)
  t.equal(await gitText(reference, 'rev-parse', 'HEAD^{tree}'), await gitText(clone, 'rev-parse', 'HEAD^{tree}'))
})

export const imports = story('pushes a whole history into an empty repository', async (t, { client, url, dir }) => {
  const source = await sourceHistory()
  const work = join(dir, 'work')
  await git(['clone', '-q', source, work])
  await git(['branch', namedBranch, `origin/${namedBranch}`], { cwd: work })
  await git(['branch', 'side', 'origin/side'], { cwd: work })
  await git(['remote', 'set-url', 'origin', url], { cwd: work })
  const names = ['refs/heads/main', 'refs/heads/side', `refs/heads/${namedBranch}`, 'refs/tags/v1', 'refs/tags/nested', 'refs/tags/light']
  await client.push(
    work,
    names.map((name) => `${name}:${name}`),
  )
  t.same(await remoteRefs(url), await remoteRefs(source))
  const reference = await gitClone(url, dir)
  await soundClone(reference)
  t.equal(await countCommits(reference, '--all'), 297)
})

export const beginsEmpty = story('clones an empty repository, and pushes its first commit', async (t, { client, url, dir }) => {
  const clone = join(dir, 'clone')
  await client.clone(url, clone)
  await git(['symbolic-ref', 'HEAD', 'refs/heads/main'], { cwd: clone })
  const oid = await commitFile(clone, 'README.md', '# first\n')
  await client.push(clone, ['refs/heads/main:refs/heads/main'])
  t.same(await remoteRefs(url), [`${oid}\trefs/heads/main`])
  await client.fetch(clone)
  await sameAsGitClone(t, clone, url)
})

/** All that a client does which knows whole histories. */
export const wholeStory: Story = (...scene) => {
  for (const tell of [clones, needsToken, fetches, pushes, imports, beginsEmpty]) tell(...scene)
}

/** As deep as history may be: asks for all of it. */
const wholeDepth = 2_147_483_647

export const clonesShallow = story('clones one commit of each branch, and pushes one upon it', async (t, { client, url, dir }) => {
  await pushHistory(url)
  const clone = join(dir, 'clone')
  await client.clone(url, clone, { depth: 1 })
  await soundClone(clone)
  t.equal(await countCommits(clone, 'HEAD'), 1)
  t.same(await filesIn(clone), await filesIn(await gitClone(url, dir)))
  const oid = await commitFile(clone, 'on-top.txt', 'on top\n')
  await client.push(clone, ['refs/heads/main:refs/heads/main'])
  t.equal(
    (await remoteRefs(url)).find((line) => line.endsWith('\trefs/heads/main')),
    `${oid}\trefs/heads/main`,
  )
  t.equal(await countCommits(await gitClone(url, dir), 'main'), 298)
})

export const fetchesShallow = story('clones one commit of each branch, and fetches what comes upon it', async (t, { client, url, dir }) => {
  await pushHistory(url)
  const clone = join(dir, 'clone')
  await client.clone(url, clone, { depth: 1 })
  t.equal(await countCommits(clone, 'origin/main'), 1)
  const work = await gitClone(url, dir)
  const tip = await commitFile(work, 'src/by-another.txt', 'more\n'.repeat(100))
  await git(['push', '-q', 'origin', 'main'], { cwd: work })
  await client.fetch(clone)
  await soundClone(clone)
  t.equal(await gitText(clone, 'rev-parse', 'origin/main'), tip)
  t.equal(await countCommits(clone, 'origin/main'), 2)
})

/** Of one branch: how deep it is depends on where one begins to count, and clients ask for different things. */
export const deepens = story('makes a short history longer, and whole', async (t, { client, url, dir }) => {
  await git(['push', '-q', url, 'main'], { cwd: await sourceHistory() })
  const clone = join(dir, 'clone')
  await client.clone(url, clone, { depth: 2 })
  t.equal(await countCommits(clone, 'origin/main'), 2)
  for (const [depth, commits] of [
    [12, 17],
    [wholeDepth, 297],
  ] as const) {
    await client.fetch(clone, { depth })
    await soundClone(clone)
    t.equal(await countCommits(clone, 'origin/main'), commits, `depth ${depth}`)
  }
})

/** All that a client does which knows cut histories. */
export const shallowStory: Story = (...scene) => {
  for (const tell of [clonesShallow, fetchesShallow, deepens]) tell(...scene)
}

export const clonesWithoutBlobs = story('clones without blobs', async (t, { client, url, dir }) => {
  await pushHistory(url)
  const clone = join(dir, 'clone')
  await client.clone(url, clone, { filter: 'blob:none' })
  const objects = (await gitText(clone, 'cat-file', '--batch-all-objects', '--batch-check=%(objecttype)')).split('\n')
  const count = (type: string) => objects.filter((one) => one === type).length
  t.same(
    { commits: count('commit'), trees: count('tree'), blobs: count('blob'), tags: count('tag') },
    { commits: 297, trees: 1790, blobs: 0, tags: 2 },
  )
})
