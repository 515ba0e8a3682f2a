import t from 'tap'
import { checkGitattributes } from '../../../protocol/objects/gitattributes.js'
import { refusedByGit, refusedByUs } from '../../support/fsck.js'
import { nameOf, treeOf, type Base } from '../../support/packs.js'

const withAttributes = (content: Buffer, name = '.gitattributes'): Base[] => {
  const file: Base = { type: 3, data: content }
  return [file, treeOf(['100644', name, nameOf(file)])]
}

t.test('a line of 2,047 bytes is taken and one of 2,048 is refused, as git has it', async (t) => {
  const cases: readonly (readonly [Buffer, string])[] = [
    [Buffer.alloc(0), ''],
    [Buffer.from('*.bin filter=lfs diff=lfs merge=lfs -text\n'.repeat(1000)), ''],
    [Buffer.from(`${'a'.repeat(2047)}\n`), ''],
    [Buffer.from('a'.repeat(2047)), ''],
    [Buffer.from(`\n${'a'.repeat(2048)}\n`), 'bad-object: .gitattributes has 2048 bytes in line 2, over 2047'],
    [Buffer.from('a'.repeat(2048)), 'bad-object: .gitattributes has 2048 bytes in line 1, over 2047'],
    [Buffer.from(`a\nb\n\n${'c'.repeat(5000)}`), 'bad-object: .gitattributes has 5000 bytes in line 4, over 2047'],
  ]
  for (const [content, message] of cases) {
    const objects = withAttributes(content)
    t.equal(refusedByUs(objects), message)
    t.match(await refusedByGit(objects), message === '' ? /^$/ : /gitattributesLineLength/)
  }
})

t.test('behind a NUL git looks no further, the hub does', async (t) => {
  const objects = withAttributes(Buffer.from(`\0${'a'.repeat(3000)}`))
  t.match(refusedByUs(objects), /3001 bytes in line 1/)
  t.equal(await refusedByGit(objects), '')
})

t.test('a disguised file is read as well', async (t) => {
  for (const name of ['gitatt~1', '.GITATTRIBUTES', '.gitattributes. ', '.git\u200dattributes', 'gi7d29~1']) {
    const objects = withAttributes(Buffer.from('a'.repeat(2048)), name)
    t.match(refusedByUs(objects), /over 2047/, name)
    t.match(await refusedByGit(objects), /gitattributesLineLength/, name)
  }
})

t.test('100 MiB are read and not a byte more', async (t) => {
  const lines = Buffer.alloc(100 * 2 ** 20 + 1, `${'x'.repeat(2000)}\n`)
  checkGitattributes(lines.subarray(0, -1))
  t.throws(() => checkGitattributes(lines), { code: 'bad-object', message: '.gitattributes of 104857601 bytes is over 104857600' })
})
