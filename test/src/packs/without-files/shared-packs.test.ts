import '../../../support/without-files.js'

await import('../../packs/shared-packs.test.js')
