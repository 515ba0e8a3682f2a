import { copyFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from '../../src/db/sql.js'
import { packKey, sidecarKey, type SidecarKind } from '../../src/storage/keys.js'
import { importHistory } from './histories.js'
import type { Domain } from './domain.js'
import { Mirror } from './mirrored-repo.js'
import { git } from './git.js'
import type { RepoState } from '../../src/db/versions.js'

/** A repository of so many commits on the branches main and side, pushed at once; `bare` is where it came from. */
export async function pushHistory(domain: Domain, name: string, commits: number, bare: string): Promise<RepoState> {
  await mkdir(bare, { recursive: true })
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, commits)
  const repo = await domain.makeRepo(name)
  await new Mirror(domain, repo, bare).push()
  return repo
}

interface StoredRow {
  readonly sha256: Buffer
  readonly sha1: Buffer
  readonly idx_sha256: Buffer
  readonly rev_sha256: Buffer
  readonly midx_sha256: Buffer | null
  readonly bitmap_sha256: Buffer | null
  readonly graph_sha256: Buffer | null
}

/** The live packs of a repository as git keeps them, with what lies beside them and all refs, made of the stored files alone. */
export async function layOutStored(domain: Domain, repoId: number, bare: string): Promise<void> {
  await git(['init', '-q', '--bare', '-b', 'main', bare])
  const stored = (key: string): string => join(domain.blobDirectory, key)
  const into = join(bare, 'objects', 'pack')
  const rows = await domain.db.query<StoredRow>(sql`SELECT * FROM packs WHERE repo_id = ${repoId} AND state = 'live'`)
  for (const row of rows) {
    const base = join(into, `pack-${row.sha1.toString('hex')}`)
    await copyFile(stored(packKey(row.sha256)), `${base}.pack`)
    await copyFile(stored(sidecarKey(row.idx_sha256, 'idx')), `${base}.idx`)
    await copyFile(stored(sidecarKey(row.rev_sha256, 'rev')), `${base}.rev`)
    const beside = async (sha256: Buffer | null, kind: SidecarKind, to: string): Promise<void> => {
      if (sha256) await copyFile(stored(sidecarKey(sha256, kind)), to)
    }
    await beside(row.midx_sha256, 'midx', join(into, 'multi-pack-index'))
    await beside(row.graph_sha256, 'graph', join(bare, 'objects', 'info', 'commit-graph'))
    if (row.midx_sha256)
      await beside(row.bitmap_sha256, 'bitmap', join(into, `multi-pack-index-${await checksumOf(join(into, 'multi-pack-index'))}.bitmap`))
  }
  const refs = await domain.db.query<{ name: Buffer; oid: Buffer }>(sql`SELECT name, oid FROM refs WHERE repo_id = ${repoId}`)
  const updates = refs.map(({ name, oid }) => `create ${name.toString()} ${oid.toString('hex')}\n`).join('')
  await git(['update-ref', '--stdin'], { cwd: bare, input: Buffer.from(updates) })
}

async function checksumOf(file: string): Promise<string> {
  return (await readFile(file)).subarray(-20).toString('hex')
}
