/** 5 GB; see large-file.test.ts. */
process.env['CAIRN_TEST_LARGE_GB'] ??= '5'
await import('./large-file.test.js')
