import { answerPack } from '../../protocol/pack/writer.js'
import { sql } from '../../src/db/sql.js'
import type { RepoState } from '../../src/db/versions.js'
import { classify } from '../../src/packs/collect/classify.js'
import { createAddSideFiles, type AddSideFilesDependencies } from '../../src/packs/collect/add-side-files.js'
import { createCollectPacks, type CollectDependencies } from '../../src/packs/collect/collect.js'
import { copyHere } from '../../src/packs/collect/copy-pack.js'
import { covers } from '../../src/packs/collect/covers.js'
import { createFold, type FoldDependencies } from '../../src/packs/collect/fold.js'
import { repackHere } from '../../src/packs/collect/repack-here.js'
import { makeSideFiles } from '../../src/packs/collect/side-files.js'
import type { Packs } from '../../src/packs/packs.js'
import { visibilityClass } from '../../src/repos/ref-changes.js'
import { cloneRequest, create, move, slices, workTree, type Domain, type WorkTree } from './domain.js'
import { git } from './git.js'

/** Folds more than three packs. */
export const folding = (domain: Domain, options: Partial<FoldDependencies> = {}) =>
  createFold({ ...domain, repack: repackHere, slices, maxPackBytes: 2 ** 29, limits: { maxInline: 3, maxPacks: 3 }, ...options })

export const collecting = (domain: Domain, options: Partial<CollectDependencies> = {}) =>
  createCollectPacks({
    ...domain,
    copyPack: copyHere,
    classify,
    covers,
    addSideFiles: addingSideFiles(domain),
    slices,
    visibilityClass,
    retentionMs: 60_000,
    ...options,
  })

/** What goes wrong is thrown. */
export const addingSideFiles = (domain: Domain, options: Partial<AddSideFilesDependencies> = {}) =>
  createAddSideFiles({
    ...domain,
    makeSideFiles,
    slices,
    onFailed: (_repoId, error) => {
      throw error
    },
    ...options,
  })

/** Has something happen once the new packs are checked, and before they take the place of the old ones. */
export function meanwhile(packs: Packs, happen: () => Promise<unknown>): Packs {
  let happened: Promise<unknown> | undefined
  const andThen = async <T extends { dispose(): Promise<void> }>(staging: Promise<T>): Promise<T> => {
    const staged = await staging
    try {
      await (happened ??= happen())
    } catch (error) {
      await staged.dispose()
      throw error
    }
    return staged
  }
  return {
    ...packs,
    stage: (...args) => andThen(packs.stage(...args)),
    stageCopied: (...args) => andThen(packs.stageCopied(...args)),
  }
}

export interface PackFacts {
  readonly state: string
  readonly source: string
  readonly class: number
  readonly part: string | null
  readonly objects: number
  readonly bytes: number
  readonly external: boolean
}

export const packRows = (domain: Domain, repoId: number): Promise<PackFacts[]> =>
  domain.db.query<PackFacts>(sql`SELECT state, source, class, part, objects, bytes, external FROM packs WHERE repo_id = ${repoId} ORDER BY id`)

/** All objects of a clone, sorted, once git has checked them. */
export async function cloneObjects(domain: Domain, repoId: number, folder: string): Promise<string> {
  const view = await domain.packs.openSnapshot(repoId)
  try {
    const chunks: Buffer[] = []
    const wants = [...new Set(view.refs.list.map(({ oid }) => oid))]
    for await (const chunk of answerPack(view, cloneRequest(wants), { slices: slices() })) chunks.push(Buffer.from(chunk))
    await git(['init', '-q', '--bare', folder])
    await git(['index-pack', '--stdin', '--strict'], { cwd: folder, input: Buffer.concat(chunks) })
    const updates = view.refs.list.map(({ name, oid }) => `create ${name} ${oid}\n`).join('')
    await git(['update-ref', '--stdin'], { cwd: folder, input: Buffer.from(updates) })
    await git(['fsck', '--strict', '--full'], { cwd: folder })
    return (await git(['rev-list', '--objects', '--all', '--no-object-names'], { cwd: folder })).stdout.toString().split('\n').toSorted().join('\n')
  } finally {
    view.release()
  }
}

export interface PushedRepo {
  readonly repo: RepoState
  readonly work: WorkTree
  readonly last: string
}

/** So many commits on one branch, each pushed by itself; each brings a commit, a tree, a file that changed and one that is new. */
export async function pushMany(domain: Domain, name: string, count: number, folder: string): Promise<PushedRepo> {
  const repo = await domain.makeRepo(name)
  const work = await workTree(folder)
  let last = ''
  for (let i = 0; i < count; i++) {
    const oid = await work.commit({ 'a.txt': `${'line\n'.repeat(200)}${i}\n`, [`f${i}`]: `${name} ${i}` }, `commit ${i}`)
    await pushed(domain, repo, {
      commands: [last === '' ? create('refs/heads/main', oid) : move('refs/heads/main', last, oid)],
      pack: await work.pack(oid, ...(last === '' ? [] : [`^${last}`])),
    })
    last = oid
  }
  return { repo, work, last }
}

/** A push that has to go well. */
export async function pushed(domain: Domain, repo: RepoState, push: Parameters<Domain['push']>[1]): Promise<void> {
  const refused = (await domain.push(repo, push)).find(({ kind }) => kind !== 'ok')
  if (refused) throw new Error(JSON.stringify(refused))
}
