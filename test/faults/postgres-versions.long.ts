import t from 'tap'
import { runDatabaseTests, runStory } from '../support/postgres-story.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { startPostgres } from '../support/tools/postgres-server.js'
import { findPostgres } from '../support/tools/postgres-versions.js'

const [lfs] = await findGitLfs()

for (const major of [15, 16, 17, 18] as const) {
  const found = await findPostgres(major)
  t.test(`PostgreSQL ${major} passes every test of src/db, and a hub runs on it`, { skip: found.missing || lfs!.found.missing }, async (t) => {
    const server = await startPostgres(t, { nativeDirectory: found.tool!, settings: { max_connections: '200' } })
    t.ok((await runDatabaseTests(t, server)).length >= 6)
    await runStory(t, server, lfs!.found.tool!)
  })
}
