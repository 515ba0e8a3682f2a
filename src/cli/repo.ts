import { createClient } from './client.js'
import { UsageError, type Command, type Values } from './command.js'

const types = ['model', 'dataset', 'space']

export function typeOf(values: Values): string {
  const type = values['type'] ?? 'model'
  if (typeof type !== 'string' || !types.includes(type)) throw new UsageError(`--type is one of ${types.join(', ')}`)
  return type
}

export function checkId(id: string): string {
  if (!/^[^/]+\/[^/]+$/.test(id)) throw new UsageError(`expected a repository such as admin/tiny-bert, got '${id}'`)
  return id
}

export const repoCreate: Command = {
  name: 'repo create',
  takes: 'NAMESPACE/NAME [--type model|dataset|space] [--private] [--empty]',
  summary: 'make a repository',
  details: [
    '--type     what it is for; model when not said',
    '--private  only its owner and admins see it',
    '--empty    without the first commit, for importing a history (git push --mirror)',
  ],
  options: { type: { type: 'string' }, private: { type: 'boolean' }, empty: { type: 'boolean' } },
  words: 1,
  async run({ env, out }, [id = ''], values) {
    const body = { type: typeOf(values), id: checkId(id), empty: values['empty'] === true, private: values['private'] === true }
    const { url } = await (await createClient(env)).call('POST', '/api/cairn/repos', body)
    out(String(url))
    return 0
  },
}

export const repoDuplicate: Command = {
  name: 'repo duplicate',
  takes: 'NAMESPACE/NAME NEW-NAMESPACE/NAME [--type model|dataset|space] [--private | --public]',
  summary: 'make a repository with the history and large files of another',
  details: [
    'The new one gets what branches and tags lead to, and nothing else. From then on neither hears of the other.',
    '',
    '--private  only its owner and admins see it',
    '--public   everybody sees it; without either it is as the other one',
  ],
  options: { type: { type: 'string' }, private: { type: 'boolean' }, public: { type: 'boolean' } },
  words: 2,
  async run({ env, out }, [id = '', repository = ''], values) {
    const isPrivate = values['private'] === true
    if (isPrivate && values['public'] === true) throw new UsageError('--private and --public: which?')
    const visibility = isPrivate ? 'private' : values['public'] === true ? 'public' : undefined
    const body = { repository: checkId(repository), ...(visibility ? { visibility } : {}) }
    const { url } = await (await createClient(env)).call('POST', `/api/${typeOf(values)}s/${checkId(id)}/duplicate`, body)
    out(String(url))
    return 0
  },
}

export const repoDelete: Command = {
  name: 'repo delete',
  takes: 'NAMESPACE/NAME [--type model|dataset|space]',
  summary: 'delete a repository',
  options: { type: { type: 'string' } },
  words: 1,
  async run({ env, out }, [id = ''], values) {
    const [organization, name] = checkId(id).split('/')
    const type = typeOf(values)
    await (await createClient(env)).call('DELETE', '/api/repos/delete', { type, organization, name })
    out(`deleted ${type} ${id}`)
    return 0
  },
}
