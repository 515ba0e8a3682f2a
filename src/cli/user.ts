import { createClient } from './client.js'
import type { Command } from './command.js'

export const userCreate: Command = {
  name: 'user create',
  takes: 'NAME [--admin]',
  summary: 'make a user',
  details: ['--admin  may do everything, everywhere', '', 'A user signs in with a token: cairn token create NAME'],
  options: { admin: { type: 'boolean' } },
  words: 1,
  async run({ env, out }, [name = ''], values) {
    const made = await (await createClient(env)).call('POST', '/api/cairn/users', { name, admin: values['admin'] === true })
    out(String(made['name']))
    return 0
  },
}
