import { createClient } from './client.js'
import type { Command } from './command.js'
import { checkId, typeOf } from './repo.js'

interface Step {
  readonly ref: string
  readonly oldOid: string | null
  readonly newOid: string | null
  readonly actor: string | null
  readonly at: string
}

const nothing = '-'.repeat(40)

export const repoReflog: Command = {
  name: 'repo reflog',
  takes: 'NAMESPACE/NAME [--ref NAME] [--before N] [--type model|dataset|space]',
  summary: 'what branches and tags were, newest first',
  details: [
    'A line has when, what it was, what it became, whose it was and which ref. What it was can be had back by cairn repo restore, for',
    'CAIRN_RETENTION_DAYS after it was left.',
    '',
    '--ref     of one branch, or of a full name such as refs/tags/v1',
    '--before  the next page, as the end of the last one says',
  ],
  options: { ref: { type: 'string' }, before: { type: 'string' }, type: { type: 'string' } },
  words: 1,
  async run({ env, out }, [id = ''], values) {
    const query = new URLSearchParams()
    for (const key of ['ref', 'before']) if (typeof values[key] === 'string') query.set(key, values[key])
    const answer = await (await createClient(env)).call('GET', `/api/cairn/${typeOf(values)}s/${checkId(id)}/reflog?${query.toString()}`)
    const { steps, next } = answer as unknown as { readonly steps: readonly Step[]; readonly next: number | null }
    for (const { at, oldOid, newOid, actor, ref } of steps) out(`${at}  ${oldOid ?? nothing}  ${newOid ?? nothing}  ${actor ?? 'the hub'}  ${ref}`)
    if (next !== null) out(`more: --before ${next}`)
    return 0
  },
}

export const repoRestore: Command = {
  name: 'repo restore',
  takes: 'NAMESPACE/NAME REF OID [--type model|dataset|space]',
  summary: 'have a branch or tag be where some ref was before',
  details: ['REF is a branch, there or not, or a full name such as refs/tags/v1; OID is one that cairn repo reflog shows.'],
  options: { type: { type: 'string' } },
  words: 3,
  async run({ env, out }, [id = '', ref = '', oid = ''], values) {
    const answer = await (await createClient(env)).call('POST', `/api/cairn/${typeOf(values)}s/${checkId(id)}/restore`, { ref, oid })
    out(`${String(answer['ref'])} is at ${String(answer['oid'])}`)
    return 0
  },
}
