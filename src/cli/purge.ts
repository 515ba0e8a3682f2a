import { createClient } from './client.js'
import type { Command } from './command.js'
import { checkId, typeOf } from './repo.js'

interface Purged {
  readonly objects: number
  readonly garbagePacks: number
  readonly blobs: number
  readonly left: readonly string[]
  readonly largeFiles: number
}

export const repoPurge: Command = {
  name: 'repo purge',
  takes: 'NAMESPACE/NAME [--gone OID,…] [--large-file OID,…] [--type model|dataset|space]',
  summary: 'have go for good what no branch or tag leads to',
  details: [
    'For a file that should never have been pushed: take it out of all branches and tags first (git filter-repo, git push --force), then purge.',
    'Nothing that is purged can be had back. History that branches and tags lead to is not rewritten. Copies (repo duplicate) keep what they have.',
    '',
    '--gone        commits, trees or blobs that have to be gone: one that a ref still leads to is named, and nothing is purged',
    '--large-file  large files, by SHA-256, that can no longer be had from this repository',
  ],
  options: { gone: { type: 'string' }, 'large-file': { type: 'string' }, type: { type: 'string' } },
  words: 1,
  async run({ env, out, err }, [id = ''], values) {
    const listed = (key: string) => (typeof values[key] === 'string' ? values[key].split(',') : [])
    const body = { oids: listed('gone'), largeFiles: listed('large-file') }
    const answer = await (await createClient(env)).call('POST', `/api/cairn/${typeOf(values)}s/${checkId(id)}/purge`, body)
    const { objects, garbagePacks, blobs, left, largeFiles } = answer as unknown as Purged
    out(`purged: ${objects} objects no ref led to, ${garbagePacks} packs of garbage, ${blobs} stored blobs; ${largeFiles} large files unlinked`)
    for (const key of left) err(`not deleted yet: ${key}`)
    return 0
  },
}
