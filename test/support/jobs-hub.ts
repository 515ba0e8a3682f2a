/**
 * A hub that does nothing but jobs, in a process of its own: `jobs-hub.js <connection as JSON> <log file> <name>`. Its one task writes
 * `<name> begins` to the file, works until it is told to stop, or, in a hub called `quick`, not at all, and writes `<name> ends`.
 */
import { appendFileSync } from 'node:fs'
import { once } from 'node:events'
import { createJobs } from '../../src/jobs/jobs.js'
import type { ConnectionOptions } from '../../src/db/pool.js'

const [connection = '', file = '', name = ''] = process.argv.slice(2)
const write = (line: string) => appendFileSync(file, `${name} ${line}\n`)
const jobs = createJobs({
  connection: JSON.parse(connection) as ConnectionOptions,
  tasks: {
    async work(signal) {
      write('begins')
      if (name !== 'quick') await once(signal, 'abort')
      write('ends')
    },
  },
  schedule: { work: 3_600_000 },
  log: () => undefined,
  timings: { pollMs: 500, superviseMs: 1_000, lostAfterMs: 10_000, retryMs: 1_000 },
})
await jobs.start()
write('is up')
process.once('SIGTERM', () => void jobs.close())
