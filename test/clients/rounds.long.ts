/** 200 rounds; see rounds.test.ts. */
process.env['CAIRN_TEST_ROUNDS'] ??= '200'
await import('./rounds.test.js')
