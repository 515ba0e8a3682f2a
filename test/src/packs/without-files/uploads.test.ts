import '../../../support/without-files.js'

await import('../../repos/uploads.test.js')
