import t from 'tap'
import { checkRefName, isReservedRef, parseRefName, refNameFromBytes, refText } from '../../protocol/ref-name.js'
import type { RefName } from '../../protocol/types.js'

const wire = (text: string): RefName => refNameFromBytes(Buffer.from(text))

t.test('ordinary names pass', async (t) => {
  const names = [
    'refs/heads/main',
    'refs/heads/feature/x.y',
    'refs/tags/v1.0',
    'refs/notes/commits',
    'refs/heads/größe',
    'refs/pull/1/head',
    'refs/heads/@',
    'refs/heads/a-b',
  ]
  for (const name of [...names, `refs/heads/${'x'.repeat(244)}`]) t.equal(checkRefName(wire(name)), undefined, name)
})

t.test('names that git refuses are funny', async (t) => {
  const names = [
    '',
    'HEAD',
    'refs',
    'refs/',
    'refs/x',
    'heads/main',
    'Refs/heads/x',
    '/refs/heads/x',
    'refs/heads/',
    'refs/heads//x',
    'refs//heads/x',
    'refs/heads/x/',
    'refs/heads/.x',
    'refs/heads/x/.y',
    'refs/.heads/x',
    'refs/heads/x.lock',
    'refs/heads/x.lock/y',
    'refs/heads/a..b',
    'refs/heads/x.',
    'refs/heads/a@{b',
    'refs/heads/a b',
    'refs/heads/a\tb',
    'refs/heads/a\x00b',
    'refs/heads/a\x7fb',
    'refs/heads/a\nb',
    ...['~', '^', ':', '?', '*', '[', '\\'].map((character) => `refs/heads/a${character}b`),
  ]
  for (const name of names) t.equal(checkRefName(wire(name)), 'funny refname', JSON.stringify(name))
})

t.test('a delete may name one level only, and anything else git allows', async (t) => {
  t.equal(checkRefName(wire('refs/x'), 'delete'), undefined)
  t.equal(checkRefName(wire(`refs/heads/${'a'.repeat(40)}`), 'delete'), undefined)
  t.equal(checkRefName(wire('refs/heads/a..b'), 'delete'), 'funny refname')
  t.equal(checkRefName(wire('HEAD'), 'delete'), 'funny refname')
})

t.test('names that git allows and this house does not', async (t) => {
  const cases: readonly [name: string, reason: string][] = [
    [`refs/heads/${'x'.repeat(245)}`, 'ref name is over 255 bytes'],
    [`refs/heads/${'a'.repeat(40)}`, 'branch and tag names must not look like object ids'],
    [`refs/tags/${'0123ABCD'.repeat(8)}`, 'branch and tag names must not look like object ids'],
    ['refs/heads/HEAD', 'a branch cannot be called HEAD'],
    ['refs/heads/-x', 'no part of a branch or tag name may begin with a dash'],
    ['refs/tags/a/-x', 'no part of a branch or tag name may begin with a dash'],
  ]
  for (const [name, reason] of cases) t.equal(checkRefName(wire(name)), reason, name)
  t.equal(checkRefName('refs/heads/\xe9' as RefName), 'ref name is not UTF-8')
  t.equal(checkRefName(wire('refs/heads/\u009b31m')), 'ref name has control characters')
  t.equal(checkRefName(wire('refs/remotes/origin/HEAD')), undefined)
  t.equal(checkRefName(wire('refs/notes/-x')), undefined)
})

t.test('some names belong to the server', async (t) => {
  for (const name of ['refs/pr/1', 'refs/convert/parquet', 'refs/internal/x']) t.equal(isReservedRef(wire(name)), true, name)
  for (const name of ['refs/heads/pr/1', 'refs/prx/1', 'refs/tags/refs/pr/1']) t.equal(isReservedRef(wire(name)), false, name)
})

t.test('names are kept as bytes and read as text', async (t) => {
  const name = parseRefName('refs/heads/größe')
  t.equal(name, 'refs/heads/gr\xc3\xb6\xc3\x9fe')
  t.equal(refText(name), 'refs/heads/größe')
  t.throws(() => parseRefName('refs/heads/a b'), { code: 'bad-request', message: '"refs/heads/a b" cannot be a ref: funny refname' })
})
