import type { AddressInfo } from 'node:net'
import t from 'tap'
import { runCli } from '../../../src/cli/commands.js'
import { hubUrl } from '../../../src/cli/client.js'
import { createPeopledHub } from '../../support/memory-hub.js'

const hub = createPeopledHub()
await hub.app.listen({ port: 0 })
const url = `http://127.0.0.1:${(hub.app.server.address() as AddressInfo).port}`
t.teardown(() => {
  hub.app.server.closeAllConnections()
  return hub.app.close()
})

async function run(line: string, env: Record<string, string> = { CAIRN_URL: url, CAIRN_TOKEN: 'hf_admin' }) {
  const out: string[] = []
  const err: string[] = []
  const code = await runCli(
    line.split(' ').filter((word) => word !== ''),
    { env, out: (text) => void out.push(text), err: (text) => void err.push(text) },
  )
  return { code, out: out.join('\n'), err: err.join('\n') }
}

t.test('help is everywhere', async (t) => {
  for (const line of [
    '--help',
    '-h',
    'help',
    'repo --help',
    'serve --help',
    'migrate --help',
    'migrate-store --help',
    'repo create --help',
    'repo delete -h',
    'repo duplicate -h',
    'user create --help',
    'token create --help',
  ]) {
    const { code, out, err } = await run(line)
    t.match({ code, err }, { code: 0, err: '' }, line)
    t.match(out, /^usage: cairn /, line)
  }
  t.match((await run('--help')).out, /repo create NAMESPACE\/NAME/)
})

t.test('what is not understood ends with 2, what fails with 1', async (t) => {
  t.match(await run(''), { code: 2, out: /^usage/ })
  t.match(await run('repo'), { code: 2, out: /repo create/ })
  t.match(await run('fly'), { code: 2, err: "cairn: there is no command 'fly': see cairn --help" })
  t.match(await run('repo fly'), { code: 2, err: "cairn: there is no command 'repo fly': see cairn --help" })
  t.match(await run('repo create'), { code: 2, err: /repo create takes .*, got none\nusage: cairn repo create/ })
  t.match(await run('migrate-store'), { code: 2, err: /say where to: --to FILE, or --undo\nusage: cairn migrate-store --to FILE/ })
  t.match(await run('migrate-store --undo --to x.env'), { code: 2, err: /say where to/ })
  t.match(await run('migrate-store --to /nowhere/x.env', {}), { code: 2, err: /^cairn: \/nowhere\/x.env cannot be read: ENOENT/ })
  t.match(await run('repo create tiny'), { code: 2, err: /expected a repository such as admin\/tiny-bert, got 'tiny'/ })
  t.match(await run('repo create a/b --type kernel'), { code: 2, err: /--type is one of model, dataset, space/ })
  t.match(await run('repo duplicate a/b'), { code: 2, err: /repo duplicate takes .*, got 'a\/b'\nusage: cairn repo duplicate/ })
  t.match(await run('repo duplicate a/b c'), { code: 2, err: /expected a repository such as admin\/tiny-bert, got 'c'/ })
  t.match(await run('repo duplicate a/b a/c --private --public'), { code: 2, err: /--private and --public: which\?/ })
  t.match(await run('repo duplicate admin/none admin/c'), { code: 1, err: 'cairn: Repository not found [404]' })
  t.match(await run('repo create a/b --fast'), { code: 2, err: /--fast/ })
  t.match(await run('token create bob --role god'), { code: 2, err: /--role is read or write/ })
  t.match(await run('user create bob'), { code: 1, out: '', err: "cairn: the name 'bob' is taken [409]" })
  t.match(await run('repo create nobody/x'), { code: 1, err: /^cairn: you are not allowed to do that \(namespace.create\) \[403\]$/ })
  t.match(await run('repo delete admin/x', { CAIRN_URL: url, CAIRN_TOKEN: 'hf_wrong' }), {
    code: 1,
    err: 'cairn: Invalid credentials in Authorization header [401]',
  })
  t.match(await run('user create x', { CAIRN_URL: 'http://127.0.0.1:1', CAIRN_TOKEN: 'x' }), {
    code: 1,
    err: /no hub answers at http:\/\/127.0.0.1:1: is it running\? CAIRN_URL says where/,
  })
  t.match(await run('user create x', { CAIRN_URL: url, CAIRN_DATA: t.testdir() }), { code: 1, err: /there is no token: set CAIRN_TOKEN/ })
})

t.test('repositories, users and tokens', async (t) => {
  t.same(await run('repo create admin/tiny-bert'), { code: 0, out: `${url}/admin/tiny-bert`, err: '' })
  t.same(await run('repo create admin/data --type dataset --private --empty'), { code: 0, out: `${url}/datasets/admin/data`, err: '' })
  t.match(
    hub.repos.find(({ name }) => name === 'data'),
    { type: 'dataset', visibility: 'private' },
  )
  t.same(await run('repo duplicate admin/data admin/more --type dataset'), { code: 0, out: `${url}/datasets/admin/more`, err: '' })
  t.same(await run('repo duplicate admin/data admin/open --type dataset --public'), { code: 0, out: `${url}/datasets/admin/open`, err: '' })
  t.same(await run('repo duplicate admin/tiny-bert admin/own --private'), { code: 0, out: `${url}/admin/own`, err: '' })
  t.same(
    ['more', 'open', 'own'].map((name) => hub.repos.find((repo) => repo.name === name)?.visibility),
    ['private', 'public', 'private'],
  )
  t.same(await run('repo delete admin/data --type dataset'), { code: 0, out: 'deleted dataset admin/data', err: '' })
  t.equal(
    hub.repos.find(({ name }) => name === 'data'),
    undefined,
  )
  t.same(await run('user create carol --admin'), { code: 0, out: 'carol', err: '' })
  t.equal(hub.namespaces.find(({ name }) => name === 'carol')?.isAdmin, true)
  const dir = t.testdir({ 'admin-token': 'hf_admin\n' })
  const { code, out } = await run('token create carol --role read --name ci', { CAIRN_URL: url, CAIRN_DATA: dir })
  t.equal(code, 0)
  t.match(hub.tokens.get(out), { name: 'carol', token: { role: 'read' } })
})

t.test('a hub is found where it listens', async (t) => {
  t.equal(hubUrl({}), 'http://127.0.0.1:8080')
  t.equal(hubUrl({ CAIRN_HOST: '0.0.0.0', CAIRN_PORT: '9000' }), 'http://127.0.0.1:9000')
  t.equal(hubUrl({ CAIRN_HOST: '::' }), 'http://[::1]:8080')
  t.equal(hubUrl({ CAIRN_URL: 'https://hub.example/x/' }), 'https://hub.example/x')
})
