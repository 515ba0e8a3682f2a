import t from 'tap'
import { gitEnvironment } from '../support/git.js'
import { startHub } from '../support/hub.js'
import { findLfsServerTest } from '../support/tools/git-lfs.js'
import { runTool } from '../support/tools/run-tool.js'

const { tool, missing } = await findLfsServerTest()

t.test("git-lfs's own test of servers passes", { skip: missing }, async (t) => {
  const hub = await startHub(t)
  const dir = t.testdir()
  for (const [type, prefix] of [
    ['model', ''],
    ['dataset', 'datasets/'],
  ] as const) {
    const { status } = await hub.api('POST', '/api/repos/create', { name: 'conformance', type, private: true })
    t.equal(status, 200)
    for (const ending of ['.git/info/lfs', '/info/lfs']) {
      const url = hub.remote(`${prefix}admin/conformance${ending}`)
      const printed = await runTool(tool!, [`--url=${url}`], { cwd: dir, env: gitEnvironment() })
      const results = printed.match(/^Test .*(?:OK|FAILED)$/gm) ?? []
      t.equal(results.filter((line) => line.endsWith('OK')).length, 7, printed)
      t.match(printed, 'All tests passed')
    }
  }
})
