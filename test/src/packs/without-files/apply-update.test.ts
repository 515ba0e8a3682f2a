import '../../../support/without-files.js'

await import('../../repos/apply-update.test.js')
