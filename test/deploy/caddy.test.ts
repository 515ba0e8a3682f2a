/** `deploy/Caddyfile` as Caddy understands it, and a push through it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { readDeploy } from '../support/deploy.js'
import { freePort, projectRoot, startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { goProgram } from '../support/tools/go-install.js'
import { lfsPerson, someBytes } from '../support/tools/lfs-person.js'
import { findTool, runTool } from '../support/tools/run-tool.js'

const MB = 1e6
const caddy = await findTool('caddy', () =>
  goProgram({ name: 'caddy', packagePath: 'github.com/caddyserver/caddy/v2/cmd/caddy', version: 'v2.11.9' }),
)
const [gitLfs] = await findGitLfs()
const site = join(projectRoot, 'deploy', 'Caddyfile')

t.test('the manual shows the file as it is', async (t) => {
  const manual = readFileSync(join(projectRoot, 'docs', 'reverse-proxies.md'), 'utf8')
  t.ok(manual.includes(`\n\`\`\`\n${readDeploy('Caddyfile')}\`\`\`\n`))
})

t.test('Caddy takes the file, formatted as it would', { skip: caddy.missing }, async (t) => {
  const home = t.testdir()
  const env = { PATH: process.env['PATH']!, HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home }
  await t.resolves(runTool(caddy.tool!, ['validate', '--adapter', 'caddyfile', '--config', site], { env }))
  t.equal(await runTool(caddy.tool!, ['fmt', site], { env }), readDeploy('Caddyfile'))
})

t.test('git and git-lfs pass through Caddy', { skip: caddy.missing || gitLfs!.found.missing }, async (t) => {
  const hub = await startHub(t, { env: { CAIRN_TRUSTED_PROXIES: '127.0.0.1' } })
  const url = `http://127.0.0.1:${await freePort()}`
  const home = t.testdir()
  const child = spawn(caddy.tool!, ['run', '--adapter', 'caddyfile', '--config', site], {
    // The second is not there.
    env: {
      PATH: process.env['PATH']!,
      HOME: home,
      XDG_DATA_HOME: home,
      XDG_CONFIG_HOME: home,
      CADDY_ADMIN: `127.0.0.1:${await freePort()}`,
      SITE: url,
      HUBS: `${new URL(hub.url).host} 127.0.0.1:${await freePort()}`,
    },
    stdio: 'ignore',
  })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const deadline = performance.now() + 20_000
  while (
    !(await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (performance.now() > deadline || child.exitCode !== null) return t.fail('Caddy did not start')
    await delay(50)
  }
  const admin = await lfsPerson(t, { hub, gitLfs: gitLfs!.found.tool!, name: 'admin' })
  await admin.signIn(url)
  await admin.createRepo({ name: 'weights', type: 'model', private: true })
  const [work, clone] = [join(home, 'work'), join(home, 'clone')]
  const big = someBytes(20 * MB)
  await admin.git(['clone', '-q', `${url}/admin/weights`, work])
  await admin.commit(work, { 'big.safetensors': big, 'source.txt': someBytes(4 * MB).toString('base64') })
  await admin.git(['push', '-q', 'origin', 'main', 'main:refs/heads/topic/one'], work)
  await admin.git(['clone', '-q', `${url}/admin/weights`, clone])
  t.ok(big.equals(await readFile(join(clone, 'big.safetensors'))))
  const answer = await fetch(`${url}/admin/weights/resolve/topic%2Fone/source.txt`, { headers: { authorization: `Bearer ${hub.token}` } })
  t.same([answer.status, (await answer.text()).length], [200, 5_333_336])
})
