import '../../../support/without-files.js'

await import('../../packs/answers.test.js')
