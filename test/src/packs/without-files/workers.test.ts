import '../../../support/without-files.js'

await import('../../packs/workers.test.js')
