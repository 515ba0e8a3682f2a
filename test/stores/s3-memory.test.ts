import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../support/hub.js'
import { findMinio } from '../support/tools/minio.js'
import { runTool } from '../support/tools/run-tool.js'

const { found } = await findMinio()

t.test('512 MiB pass in and out in memory that does not grow with them', { skip: found.missing }, async (t) => {
  const server = await found.tool!.start(t)
  const account = server.account(await server.makeBucket())
  // One part is in memory at most; the rest is what the collector has not come to yet.
  const mostMiB = 128
  for (const transfer of ['put-known', 'get', 'put-unknown', 'put-file']) {
    const printed = await runTool(process.execPath, [join(projectRoot, 'build', 'test', 'support', 's3-transfer.js'), transfer], {
      env: { ...(process.env as Record<string, string>), CAIRN_TEST_S3: JSON.stringify(account) },
    })
    const { grewBytes, seconds } = JSON.parse(printed) as { grewBytes: number; seconds: number }
    const grewMiB = Math.round(grewBytes / 2 ** 20)
    t.comment(`${transfer}: ${grewMiB} MiB more, ${seconds.toFixed(1)} s`)
    t.ok(grewMiB < mostMiB, `${transfer}: ${grewMiB} MiB more than before`)
  }
})
