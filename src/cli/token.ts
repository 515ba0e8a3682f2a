import { createClient } from './client.js'
import { UsageError, type Command } from './command.js'

export const tokenCreate: Command = {
  name: 'token create',
  takes: 'USER [--role read|write] [--name LABEL]',
  summary: 'make a token for a user, and print it: it is shown this once',
  details: ['--role  read, or write (when not said)', '--name  what the token is called where tokens are listed'],
  options: { role: { type: 'string' }, name: { type: 'string' } },
  words: 1,
  async run({ env, out }, [user = ''], values) {
    const role = values['role'] ?? 'write'
    if (role !== 'read' && role !== 'write') throw new UsageError('--role is read or write')
    const body = { role, ...(typeof values['name'] === 'string' ? { name: values['name'] } : {}) }
    const { token } = await (await createClient(env)).call('POST', `/api/cairn/users/${encodeURIComponent(user)}/tokens`, body)
    out(String(token))
    return 0
  },
}
