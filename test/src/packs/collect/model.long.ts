/** A million steps; see model.test.ts. */
process.env['CAIRN_TEST_MODEL_STEPS'] ??= '1000000'
await import('./model.test.js')
