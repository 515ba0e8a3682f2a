import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { oidFromBytes } from '../../protocol/oid.js'
import { entryAt, type PackView } from '../../protocol/ports.js'
import { findNamespace } from '../../src/db/namespaces.js'
import { sql } from '../../src/db/sql.js'
import type { RepoState } from '../../src/db/versions.js'
import { createCollector } from '../../src/kept/collect.js'
import { classify } from '../../src/packs/collect/classify.js'
import { repackHere } from '../../src/packs/collect/repack-here.js'
import { findPointers } from '../../src/packs/find-pointers.js'
import { createDuplicateRepo, type DuplicateRepoDependencies, type DuplicateRepoRequest } from '../../src/repos/duplicate-repo.js'
import { packKey } from '../../src/storage/keys.js'
import { never, slices, type Domain } from './domain.js'
import { git } from './git.js'

/** A copy of a repository under another name in the namespace of the admin. */
export async function duplicate(
  domain: Domain,
  source: RepoState,
  name: string,
  { signal = never, authorise = async () => true, visibility, ...deps }: Partial<DuplicateRepoRequest & DuplicateRepoDependencies> = {},
): Promise<RepoState> {
  const actor = (await findNamespace(domain.db, 'admin'))!
  const duplicateRepo = createDuplicateRepo({ ...domain, classify, repack: repackHere, findPointers, slices, ...deps })
  const path = { type: source.type, namespace: 'admin', name }
  return duplicateRepo({ source, actor, path, namespaceId: actor.id, visibility, authorise, signal })
}

/** What git finds in the stored bytes of all packs of a repository, of whatever state, sorted. An object that is twice is there twice. */
export async function storedObjects(domain: Domain, repoId: number): Promise<string[]> {
  const rows = await domain.db.query<{ sha256: Buffer; pack: Buffer | null }>(sql`
    SELECT p.sha256, i.pack FROM packs p LEFT JOIN pack_inline i ON i.pack_id = p.id WHERE p.repo_id = ${repoId}`)
  const folder = await mkdtemp(join(tmpdir(), 'cairn-copy-'))
  try {
    const found: string[] = []
    for (const [i, { sha256, pack }] of rows.entries()) {
      const file = join(folder, `${i}.pack`)
      await writeFile(file, pack ?? (await readFile(join(domain.blobDirectory, packKey(sha256)))))
      await git(['index-pack', file], { cwd: folder })
      const { stdout } = await git(['show-index'], { cwd: folder, input: await readFile(join(folder, `${i}.idx`)) })
      found.push(
        ...stdout
          .toString()
          .trimEnd()
          .split('\n')
          .map((line) => line.split(' ')[1]!),
      )
    }
    return found.toSorted()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What git says that these revisions lead to, sorted. */
export async function closureOf(cwd: string, ...revisions: readonly string[]): Promise<string[]> {
  const { stdout } = await git(['rev-list', '--objects', '--no-object-names', ...revisions], { cwd })
  return stdout.toString().trimEnd().split('\n').toSorted()
}

/** All blobs that nothing needs lose their bytes now. */
export async function collectBlobs({ db, store }: Domain): Promise<number> {
  const collector = createCollector({ db, store, unusedGraceMs: 0, doomedGraceMs: 0, storeTimeoutMs: 1_000 })
  const first = await collector.collect()
  const second = await collector.collect()
  return first.deleted.length + second.deleted.length
}

/** The names of all objects in all packs of a snapshot. */
export function objectsIn(view: PackView): ReadonlySet<string> {
  const names = new Set<string>()
  const oid = new Uint8Array(20)
  for (let pack = 0; pack < view.packCount; pack++)
    for (let rank = 0; rank < view.objectsIn(pack); rank++) {
      view.oidOf(entryAt(pack, rank), oid)
      names.add(oidFromBytes(oid))
    }
  return names
}
