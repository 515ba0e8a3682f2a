// Builds when build/ is missing or older than its sources. Runs after `npm ci` and before `npm start` and `npm test`, on whatever Node there is.
// `--if-possible`: an install without development tools goes on unbuilt, and the next start says so.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const sources = ['src', 'protocol', 'lfs', 'test', 'bench', 'package-lock.json', 'tsconfig.json']
const stamp = join(root, 'build', '.stamp')
const compiler = join(root, 'node_modules', '.bin', 'tsc')

function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat) return 0
  if (!stat.isDirectory()) return stat.mtimeMs
  // A folder's own time tells of files that were removed.
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), stat.mtimeMs)
}

/** Compiles when needed. Returns whether it did. Ends the process with a message when it cannot. */
export function ensureBuild() {
  const built = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (built > Math.max(...sources.map((name) => newest(join(root, name))))) return false
  if (!existsSync(compiler)) {
    if (built > 0) return false // an installed package without its development tools: what is built is what there is
    console.error('cairn is not built, and its development tools are not installed: run `npm ci` (without --omit=dev) once')
    process.exit(1)
  }
  rmSync(join(root, 'build'), { recursive: true, force: true })
  const { status } = spawnSync(compiler, ['-p', root], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
  chmodSync(join(root, 'build', 'src', 'cli', 'main.js'), 0o755) // `npx cairn` runs it as a program
  writeFileSync(stamp, '')
  return true
}

const ifPossible = process.argv.includes('--if-possible')
if (process.argv[1] === fileURLToPath(import.meta.url) && !(ifPossible && !existsSync(compiler))) ensureBuild()
