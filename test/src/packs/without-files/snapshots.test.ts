import '../../../support/without-files.js'

await import('../../packs/snapshots.test.js')
