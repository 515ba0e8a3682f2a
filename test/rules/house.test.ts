import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { projectRoot } from '../support/hub.js'

function lint(cwd: string, args: readonly string[] = []): { status: number | null; output: string } {
  const bin = join(projectRoot, 'node_modules', '.bin')
  const run = spawnSync(join(bin, 'oxlint'), args, { cwd, encoding: 'utf8', env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` } })
  return { status: run.status, output: run.stdout + run.stderr }
}

t.test('the project keeps its own rules: lint, rooms, no circles', async (t) => {
  const { status, output } = lint(projectRoot, ['--type-aware'])
  t.equal(status, 0, output)
})

t.test('a room that imports what it must not know is reported', async (t) => {
  const planted: readonly [file: string, source: string, complaint: string][] = [
    ['src/packs/a.ts', "export { x } from '../auth/actor.js'", "'../auth/actor.js' import is restricted"],
    ['src/db/a.ts', "export { x } from '../../protocol/oid.js'", "'../../protocol/oid.js' import is restricted"],
    ['src/git-http/a.ts', "export { x } from '../hub-api/x.js'", "'../hub-api/x.js' import is restricted"],
    ['src/git-http/b.ts', "export { Client } from 'pg'", "'pg' import is restricted"],
    ['src/repos/a.ts', "export { fastify } from 'fastify'", "'fastify' import is restricted"],
    ['src/packs/b.ts', "export { Worker } from 'node:worker_threads'", "'node:worker_threads' import is restricted"],
    ['src/storage/a.ts', "export { Client } from 'minio'", "'minio' import is restricted"],
    ['src/packs/c.ts', "export { signV4 } from 'minio/dist/esm/signing.mjs'", "'minio/dist/esm/signing.mjs' import is restricted"],
    ['src/packs/d.ts', "export { Counter } from 'prom-client'", "'prom-client' import is restricted"],
    ['src/move/a.ts', "export { from } from 'pg-copy-streams'", "'pg-copy-streams' import is restricted"],
    ['src/move/b.ts', "export { x } from '../repos/repos.js'", "'../repos/repos.js' import is restricted"],
    ['protocol/pack/a.ts', "export { readFileSync } from 'node:fs'", "'node:fs' import is restricted"],
    ['protocol/pack/b.ts', "export { HubError } from '../../src/errors.js'", "'../../src/errors.js' import is restricted"],
    ['lfs/a.ts', "export { x } from '../protocol/oid.js'", "'../protocol/oid.js' import is restricted"],
  ]
  const dir = plant(
    t,
    planted.map(([file, source]) => [file, `${source}\n`]),
  )
  copyFileSync(join(projectRoot, 'oxlint.config.ts'), join(dir, 'oxlint.config.ts'))
  symlinkSync(join(projectRoot, 'node_modules'), join(dir, 'node_modules'))
  const { status, output } = lint(dir, ['src', 'protocol', 'lfs'])
  t.not(status, 0)
  for (const [file, , complaint] of planted) t.match(output, complaint, file)
})

t.test('allowed imports between rooms are not reported', async (t) => {
  const dir = plant(t, [
    ['src/packs/a.ts', "export { a } from '../db/packs.js'\nexport { b } from '../../protocol/oid.js'\n"],
    ['src/git-http/a.ts', "export { a } from '../http/send-stream.js'\nexport { b } from 'fastify'\n"],
    ['src/db/a.ts', "export { Client } from 'pg'\n"],
    ['src/storage/s3-a.ts', "export { Client } from 'minio'\nexport { signV4 } from 'minio/dist/esm/signing.mjs'\n"],
    ['protocol/pack/a.ts', "export { createHash } from 'node:crypto'\nexport { a } from '../oid.js'\nexport { b } from './delta.js'\n"],
  ])
  copyFileSync(join(projectRoot, 'oxlint.config.ts'), join(dir, 'oxlint.config.ts'))
  symlinkSync(join(projectRoot, 'node_modules'), join(dir, 'node_modules'))
  const { output } = lint(dir, ['src', 'protocol'])
  t.notMatch(output, 'is restricted')
})

t.test('everything is formatted', async (t) => {
  const run = spawnSync(join(projectRoot, 'node_modules', '.bin', 'biome'), ['format', '.'], { cwd: projectRoot, encoding: 'utf8' })
  t.equal(run.status, 0, run.stdout + run.stderr)
})

t.test('the README shows every setting as it is', async (t) => {
  const { settingsTable } = await import('../../src/config/config.js')
  const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8')
  const section = /\n## Settings\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  t.same(
    rows,
    settingsTable.map(({ name, byDefault, says }) => `| \`${name}\` | ${byDefault} | ${says} |`),
  )
})

t.test('we introduce ourselves by the version of the package', async (t) => {
  const { agent } = await import('../../protocol/capabilities.js')
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string }
  t.equal(agent, `cairn/${version}`)
})

/** Outside the checkout: the linter passes over what git ignores. */
function plant(t: Test, files: readonly (readonly [path: string, content: string])[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'cairn-rules-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  for (const [path, content] of files) {
    mkdirSync(join(dir, path, '..'), { recursive: true })
    writeFileSync(join(dir, path), content)
  }
  return dir
}
