#!/usr/bin/env node
// Only what any Node understands may be imported before the version is known.
const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  console.error(`cairn needs Node 24 or newer, and this is ${process.version}.
In a checkout \`npm ci\` brings one along: use \`npm start\` or \`npx cairn …\`, or run node_modules/.bin/node build/src/cli/main.js`)
  process.exit(1)
}
// Waiting for disks is what these threads do most: four would make uploads wait for each other. Read when the first is needed.
process.env['UV_THREADPOOL_SIZE'] ??= '16'
if (process.argv[2] === 'serve') (await import('./heap.js')).settleHeap(process)
const { runCli } = await import('./commands.js')
process.exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
})
