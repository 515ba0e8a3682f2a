/** A million spoilt requests; see hostile-fuzz.test.ts. */
process.env['CAIRN_TEST_FUZZ'] ??= '500000'
await import('./hostile-fuzz.test.js')
