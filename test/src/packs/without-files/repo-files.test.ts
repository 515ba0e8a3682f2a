import '../../../support/without-files.js'

await import('../../repos/repo-files.test.js')
