/** The quick loop on the next Node: what it takes for an error, this one may only warn of. */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { join } from 'node:path'
import t from 'tap'
import { plainEnv, projectRoot } from '../support/hub.js'
import { nextNode } from '../support/tools/next-node.js'

t.test('the unit tests pass on the next Node', async (t) => {
  const child = spawn(await nextNode(), [join(projectRoot, 'build/test/run.js'), '--unit'], { env: plainEnv(), stdio: ['ignore', 'pipe', 'inherit'] })
  const printed = await text(child.stdout)
  t.match(printed, /\n\d{3,} passed, 0 failed\n$/, printed)
})
