import t from 'tap'
import { runDatabaseTests, runStory } from '../support/postgres-story.js'
import { serveHub } from '../support/served-hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { startPostgres } from '../support/tools/postgres-server.js'
import { findPostgres } from '../support/tools/postgres-versions.js'

const [lfs] = await findGitLfs()
const tooOld = await findPostgres(14)
const oldest = await findPostgres(15)
const newest = await findPostgres(18)

t.test('PostgreSQL 14 is refused, and nothing is written to it', { skip: tooOld.missing }, async (t) => {
  const server = await startPostgres(t, { nativeDirectory: tooOld.tool! })
  await t.rejects(serveHub(t, { DATABASE_URL: server.url() }), {
    code: 'config',
    message: 'the database is PostgreSQL 14.23, and this release needs 15 or newer: see DATABASE_URL',
  })
})

t.test('PostgreSQL 15 passes every test of src/db', { skip: oldest.missing }, async (t) => {
  const server = await startPostgres(t, { nativeDirectory: oldest.tool!, settings: { max_connections: '200' } })
  t.ok((await runDatabaseTests(t, server)).length >= 6)
})

// Of 18 these tests are what `npm test` runs anyway.
for (const [major, found] of [
  [15, oldest],
  [18, newest],
] as const) {
  t.test(`a hub over PostgreSQL ${major}: pushes, large files, clones`, { skip: found.missing || lfs!.found.missing }, async (t) => {
    await runStory(t, await startPostgres(t, { nativeDirectory: found.tool! }), lfs!.found.tool!)
  })
}
