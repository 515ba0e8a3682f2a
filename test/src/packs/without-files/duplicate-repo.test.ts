import '../../../support/without-files.js'

await import('../../repos/duplicate-repo.test.js')
