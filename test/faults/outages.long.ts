/** Three hundred outages; see outages.test.ts. */
process.env['CAIRN_TEST_KILL_ROUNDS'] ??= '300'
await import('./outages.test.js')
