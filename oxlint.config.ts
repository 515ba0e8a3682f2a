/**
 * Lint, and the house as import rules: which room may import which, and by which door a package enters.
 * `npm run lint` checks it, and `npm test` runs that.
 */

const doors = ['git-http', 'lfs-http', 'hub-api', 'web', 'xet-http', 'ssh']
const doorImports = ['http', 'repos', 'large-files', 'jobs', 'auth', 'db', 'protocol', 'lfs']

/** Room of src/ → what it may import besides itself and src/errors. Imports point down, never up, never between doors. */
const rooms: Record<string, readonly string[]> = {
  config: [],
  db: ['config'],
  storage: ['config'],
  kept: ['db', 'storage'],
  packs: ['protocol', 'lfs', 'kept', 'db', 'storage'],
  'large-files': ['lfs', 'kept', 'db', 'storage'],
  auth: ['db'],
  repos: ['packs', 'large-files', 'protocol', 'lfs', 'db'],
  move: ['lfs', 'large-files', 'auth', 'kept', 'db', 'storage'],
  jobs: ['repos', 'packs', 'large-files', 'db'],
  http: ['auth', 'repos', 'protocol', 'lfs', 'db'],
  ...Object.fromEntries(doors.map((door) => [door, doorImports])),
}
const allRooms = [...Object.keys(rooms), 'server', 'cli', 'protocol', 'lfs']

/** Package → the only folders that may import it. */
const packageDoors: Record<string, readonly string[]> = {
  pg: ['db'],
  'pg-copy-streams': ['db'],
  pino: ['server'],
  'prom-client': ['server'],
  minio: ['storage/s3-*.ts'],
  undici: ['storage/s3-*.ts'],
  'fast-xml-parser': ['storage/s3-*.ts'],
  'isomorphic-git': ['repos/merge'],
  '@fastify/multipart': ['web'],
  'pg-boss': ['jobs'],
  'node:worker_threads': ['packs/workers'],
  fastify: ['http', 'server', ...doors],
}

interface Restriction {
  readonly group?: readonly string[]
  readonly regex?: string
  readonly message: string
}

function restrict(files: string, packages: readonly string[], patterns: readonly Restriction[]) {
  const message = 'this package enters by another door'
  const paths = packages.map((name) => ({ name, message }))
  // What a package holds inside enters by the same door.
  const inside = packages.map((name) => ({ regex: `^${name}/`, message }))
  return { files: [files], rules: { 'no-restricted-imports': ['error', { paths, patterns: [...patterns, ...inside] }] } }
}

function roomRule(room: string, allowed: readonly string[]) {
  const denied = allRooms.filter((other) => other !== room && !allowed.includes(other))
  const packages = Object.keys(packageDoors).filter((name) => !packageDoors[name]!.includes(room))
  return restrict(`src/${room}/**/*.ts`, packages, [{ group: denied.map((other) => `**/${other}/**`), message: `${room} does not know this room` }])
}

/** A part of a room that has a package of its own. */
function partRule(part: string) {
  const room = part.split('/')[0]!
  const denied = allRooms.filter((other) => other !== room && !rooms[room]!.includes(other))
  const packages = Object.keys(packageDoors).filter((name) => !packageDoors[name]!.includes(part))
  return restrict(part.endsWith('.ts') ? `src/${part}` : `src/${part}/**/*.ts`, packages, [
    { group: denied.map((other) => `**/${other}/**`), message: `${room} does not know this room` },
  ])
}

function pureRule(folder: string, other: string) {
  return restrict(
    `${folder}/**/*.ts`,
    [],
    [
      { regex: `^(\\.\\./)+(src|test|${other})/`, message: `${folder}/ is pure: it imports nothing of ours but itself` },
      {
        group: ['*', '!./**', '!../**', '!node:crypto', '!node:zlib', '!node:buffer'],
        message: `${folder}/ is pure: no files, clocks, threads or packages`,
      },
    ],
  )
}

export default {
  plugins: ['typescript', 'import', 'unicorn', 'oxc', 'promise'],
  categories: { correctness: 'error', suspicious: 'error' },
  ignorePatterns: ['build', 'node_modules'],
  rules: {
    'import/no-cycle': 'error',
    'import/no-default-export': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/consistent-type-imports': 'error',
    eqeqeq: 'error',
    'no-var': 'error',
    'prefer-const': 'error',
    // Reading a stream is awaiting in a loop.
    'no-await-in-loop': 'off',
    'no-shadow': 'off',
    'no-control-regex': 'off',
    'no-underscore-dangle': 'off',
    'import/no-unassigned-import': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'unicorn/prefer-add-event-listener': 'off',
    'promise/always-return': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/no-unnecessary-type-assertion': 'off',
    // The compiler knows when a switch is complete.
    'typescript/consistent-return': 'off',
    // Handlers are Fastify's, which waits for them; the rule means Express.
    'oxc/no-async-endpoint-handlers': 'off',
    // pg is CommonJS: its default export is all of it.
    'import/no-named-as-default-member': 'off',
    'typescript/no-unsafe-enum-assignment': 'off',
    // Conditions change across an await.
    'no-unmodified-loop-condition': 'off',
    'unicorn/no-useless-spread': 'off',
  },
  overrides: [
    ...Object.entries(rooms).map(([room, allowed]) => roomRule(room, allowed)),
    restrict(
      'src/server/**/*.ts',
      Object.keys(packageDoors).filter((name) => !packageDoors[name]!.includes('server')),
      [{ group: ['**/cli/**'], message: 'server does not know this room' }],
    ),
    restrict('src/cli/**/*.ts', Object.keys(packageDoors), []),
    partRule('storage/s3-*.ts'),
    partRule('repos/merge'),
    partRule('packs/workers'),
    pureRule('protocol', 'lfs'),
    pureRule('lfs', 'protocol'),
    restrict('src/errors.ts', [], [{ group: ['*', './**', '../**'], message: 'errors imports nothing' }]),
    { files: ['test/**/*.ts', 'bench/**/*.ts'], rules: { 'typescript/no-floating-promises': 'off', 'typescript/unbound-method': 'off' } },
    { files: ['*.config.ts'], rules: { 'import/no-default-export': 'off' } },
  ],
}
