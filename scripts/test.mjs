// `npm test`: installs when nothing is installed yet, builds, and hands over to the compiled runner on the Node of this project.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureBuild } from './ensure-build.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

function run(command, args) {
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(signal ? 1 : (status ?? 1))
}

if (!existsSync(join(root, 'node_modules'))) {
  console.log('node_modules is missing: npm ci')
  run('npm', ['ci', '--no-audit', '--no-fund'])
}
ensureBuild()
const own = join(root, 'node_modules', '.bin', 'node')
run(existsSync(own) ? own : process.execPath, [join(root, 'build', 'test', 'run.js'), ...process.argv.slice(2)])
