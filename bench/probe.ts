/**
 * Preloaded into the hub that is measured (`node --import`): on SIGUSR2 writes what happened since the last one into the file that
 * CAIRN_TEST_PROBE names: event loop delays in milliseconds, processor seconds of all its threads, resident bytes now and at most.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const file = process.env['CAIRN_TEST_PROBE']!
const delays = monitorEventLoopDelay({ resolution: 5 })
delays.enable()
let cpu = process.cpuUsage()
let maxRss = 0
setInterval(() => {
  maxRss = Math.max(maxRss, process.memoryUsage.rss())
}, 20).unref()

process.on('SIGUSR2', () => {
  const used = process.cpuUsage(cpu)
  const rss = process.memoryUsage.rss()
  const ms = (nanoseconds: number): number => nanoseconds / 1e6 - 5
  writeFileSync(
    `${file}.new`,
    JSON.stringify({
      p99Ms: ms(delays.percentile(99)),
      maxMs: ms(delays.max),
      cpuSeconds: (used.user + used.system) / 1e6,
      rss,
      maxRss: Math.max(maxRss, rss),
    }),
  )
  renameSync(`${file}.new`, file)
  delays.reset()
  cpu = process.cpuUsage()
  maxRss = rss
})
