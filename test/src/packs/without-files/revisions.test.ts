import '../../../support/without-files.js'

await import('../../repos/revisions.test.js')
