/** Imported first by tests that run once more over a store that is reached as one over a network is: every domain they open is of that kind. */
process.env['CAIRN_TEST_CACHE_BYTES'] = String(2 ** 30)
