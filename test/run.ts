/**
 * The test runner behind `npm test`: brings up what the tests share, runs every compiled test file in its own process,
 * and prints `N passed, N failed` last. Counted are the subtests at the top of each file: one a behaviour.
 *
 *   npm test                    everything but the long proofs
 *   npm test -- --unit          without servers, clients and faults: the quick loop
 *   npm test -- --long          the long proofs as well
 *   npm test -- NAME …          files whose path contains a NAME
 */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, sep } from 'node:path'
import { Parser } from 'tap-parser'
import { bringUp } from './support/bring-up.js'

const testRoot = import.meta.dirname
/** A file that is the first to need a server built by Go waits for that as well. */
const fileTimeoutMs = 30 * 60_000
const longTimeoutMs = 120 * 60_000
/** Folders whose files start servers or real clients. */
const heavy = ['clients', 'deploy', 'faults', 'rules', 'stores']

/** A last collection in each process tells of file handles that nobody closed. */
const nodeFlags = ['--enable-source-maps', '--expose-gc', '--import', join(testRoot, 'support', 'unclosed.js')]
/** How Node says so: the first until 25, as an error of the process from 26 on. */
const unclosed = /Closing file descriptor \d+ on garbage collection|FileHandle object was closed during garbage collection/

interface Outcome {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly skipped: readonly string[]
  readonly seconds: number
  readonly output: string
}

const args = process.argv.slice(2)
const long = args.includes('--long')
const unit = args.includes('--unit')
const names = args.filter((arg) => !arg.startsWith('--'))

function findTests(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return findTests(path)
    return entry.name.endsWith('.test.js') || (long && entry.name.endsWith('.long.js')) ? [path] : []
  })
}

function isWanted(path: string): boolean {
  const name = relative(testRoot, path)
  if (unit && heavy.includes(name.split(sep)[0]!)) return false
  return names.length === 0 || names.some((part) => name.includes(part))
}

async function runFile(path: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
  const file = relative(testRoot, path)
  const started = performance.now()
  const chunks: Buffer[] = []
  const skipped: string[] = []
  let passed = 0
  let failed = 0
  const parser = new Parser()
  parser.on('assert', (result: { ok: boolean; skip: boolean | string; todo: boolean | string; name: string }) => {
    if (result.skip) skipped.push(`${file}: ${result.name} (${result.skip === true ? 'no reason given' : result.skip})`)
    else if (result.ok) passed++
    else failed++
  })
  // A session of its own: whatever a test leaves behind can be ended with it.
  const child = spawn(process.execPath, [...nodeFlags, path], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const endGroup = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch {
      // nothing is left of it
    }
  }
  const timer = setTimeout(endGroup, path.endsWith('.long.js') ? longTimeoutMs : fileTimeoutMs)
  child.stdout.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    parser.write(chunk.toString('utf8'))
  })
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  const code = await new Promise<number | string>((resolve) => {
    child.on('close', (status, signal) => resolve(status ?? signal ?? 1))
  })
  clearTimeout(timer)
  endGroup()
  parser.end()
  if (code !== 0 && failed === 0) {
    failed++
    chunks.push(Buffer.from(`\n${file} ended with ${code}\n`))
  }
  const said = Buffer.concat(chunks).toString('utf8')
  if (failed === 0 && unclosed.test(said)) {
    failed++
    chunks.push(Buffer.from(`\n${file} left a file open\n`))
  }
  if (code === 0 && passed + failed + skipped.length === 0) {
    failed++
    chunks.push(Buffer.from(`\n${file} ran no test\n`))
  }
  return { file, passed, failed, skipped, seconds: (performance.now() - started) / 1000, output: Buffer.concat(chunks).toString('utf8') }
}

async function runAll(): Promise<number> {
  const files = findTests(testRoot).filter(isWanted).toSorted()
  const shared = await bringUp({ log: (line) => console.log(line) })
  const outcomes: Outcome[] = []
  const queue = [...files]
  // Files are timed here; tap's own 30 s a test are too few for real clients.
  const env = { ...process.env, TAP_TIMEOUT: '7200', ...shared.env }
  const worker = async () => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      const outcome = await runFile(path, env)
      outcomes.push(outcome)
      console.log(
        `${outcome.failed === 0 ? 'ok  ' : 'FAIL'} ${outcome.file}  ${outcome.passed} passed, ${outcome.failed} failed${
          outcome.skipped.length === 0 ? '' : `, ${outcome.skipped.length} skipped`
        }  ${outcome.seconds.toFixed(1)} s`,
      )
      if (outcome.failed > 0)
        console.log(
          outcome.output
            .split('\n')
            .map((line) => `    ${line}`)
            .join('\n'),
        )
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker))
  } finally {
    await shared.stop()
  }
  const skipped = outcomes.flatMap((outcome) => outcome.skipped)
  for (const name of skipped) console.log(`skipped ${name}`)
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0)
  // A skip in CI hides a missing install step: there it counts as a failure.
  const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0) + (process.env['CI'] === 'true' ? skipped.length : 0)
  for (const outcome of outcomes) if (outcome.failed > 0) console.log(`failed  ${outcome.file}`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0 && passed > 0 ? 0 : 1
}

process.exitCode = await runAll()
