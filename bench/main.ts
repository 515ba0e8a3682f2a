/**
 * `npm run bench [-- NAME …]`: Cairn beside nginx + fcgiwrap + `git http-backend`, on the same repositories with the same bodies, access check
 * and log on. Prints ratios: seconds differ from machine to machine.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bigBench } from './big.js'
import { collectedBench } from './collected.js'
import { headResolveBench } from './head-resolve.js'
import { largeBench } from './large.js'
import { outsideBench } from './outside.js'
import { pushesBench } from './pushes.js'
import { refsBench } from './refs.js'
import { smallBench } from './small.js'
import { startTimes } from './start.js'
import { startBench } from './stage.js'

const names = process.argv.slice(2)
// Whoever reads along may leave; the servers still have to be stopped.
process.stdout.on('error', () => undefined)
const folder = await mkdtemp(join(tmpdir(), 'cairn-bench-'))
const bench = await startBench(folder)
try {
  for (const [name, run] of Object.entries({
    start: startTimes,
    small: smallBench,
    head: headResolveBench,
    big: bigBench,
    collected: collectedBench,
    refs: refsBench,
    pushes: pushesBench,
    large: largeBench,
    outside: outsideBench,
  })) {
    if (names.length > 0 && !names.includes(name)) continue
    for await (const row of run(bench)) {
      console.log(`${row.ok ? 'ok  ' : 'MISS'}  ${row.what.padEnd(60)}  ${row.ratio.padStart(8)}  goal ${row.goal.padEnd(8)}  ${row.figures}`)
    }
  }
} finally {
  await bench.stop()
  await rm(folder, { recursive: true, force: true })
}
