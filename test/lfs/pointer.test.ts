import t from 'tap'
import { encodePointer, maxPointerBytes, parsePointer } from '../../lfs/pointer.js'
import { mutated, seeded } from '../support/fsck.js'

const oid = '4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393'
const version = 'version https://git-lfs.github.com/spec/v1'
const parse = (text: string) => parsePointer(Buffer.from(text, 'latin1'))
const is = { oid, size: 12345 }

t.test('the pointer of the specification is read, and written to the byte', async (t) => {
  const text = `${version}\noid sha256:${oid}\nsize 12345\n`
  t.same(parse(text), is)
  t.equal(encodePointer(is).toString(), text)
  t.same(parse(encodePointer({ oid, size: 0 }).toString()), { oid, size: 0 })
  t.same(parse(encodePointer({ oid, size: Number.MAX_SAFE_INTEGER }).toString()), { oid, size: 2 ** 53 - 1 })
})

t.test('what git-lfs reads is read', async (t) => {
  const cases: Readonly<Record<string, string>> = {
    'no newline at the end': `${version}\noid sha256:${oid}\nsize 12345`,
    CRLF: `${version}\r\noid sha256:${oid}\r\nsize 12345\r\n`,
    'blank lines and space around': `\n \t${version}\n\n\noid sha256:${oid}\n\nsize 12345\n\n  \n`,
    extensions: `${version}\next-0-foo sha256:${oid}\next-1-bar sha256:${oid}\noid sha256:${oid}\nsize 12345\n`,
    'an extension first': `ext-0-foo sha256:${oid}\n${version}\noid sha256:${oid}\nsize 12345\n`,
    'an extension between': `${version}\noid sha256:${oid}\next-9-z x\nsize 12345\n`,
    'zeros before the size': `${version}\noid sha256:${oid}\nsize 0012345\n`,
    'a plus before the size': `${version}\noid sha256:${oid}\nsize +12345\n`,
    'hawser, as it was called': `version https://hawser.github.com/spec/v1\noid sha256:${oid}\nsize 12345\n`,
    'git-media, before that': `version http://git-media.io/v/2\noid sha256:${oid}\nsize 12345\n`,
  }
  for (const [what, text] of Object.entries(cases)) t.same(parse(text), is, what)
})

t.test('what is no pointer is none', async (t) => {
  const cases: Readonly<Record<string, string>> = {
    'an empty file': '',
    text: 'version of something\n',
    'another version': `version https://git-lfs.github.com/spec/v2\noid sha256:${oid}\nsize 1\n`,
    'no version': `oid sha256:${oid}\nsize 1\n`,
    'the keys in another order': `${version}\nsize 1\noid sha256:${oid}\n`,
    'version last': `oid sha256:${oid}\nsize 1\n${version}\n`,
    'no oid': `${version}\nsize 1\n`,
    'no size': `${version}\noid sha256:${oid}\n`,
    'another hash': `${version}\noid sha512:${oid}\nsize 1\n`,
    'a short oid': `${version}\noid sha256:${oid.slice(1)}\nsize 1\n`,
    'a long oid': `${version}\noid sha256:${oid}0\nsize 1\n`,
    capitals: `${version}\noid sha256:${oid.toUpperCase()}\nsize 1\n`,
    'a path for an oid': `${version}\noid sha256:${'../'.repeat(21)}a\nsize 1\n`,
    'a negative size': `${version}\noid sha256:${oid}\nsize -1\n`,
    'a size that is no number': `${version}\noid sha256:${oid}\nsize 1e3\n`,
    'a hexadecimal size': `${version}\noid sha256:${oid}\nsize 0x10\n`,
    'an empty size': `${version}\noid sha256:${oid}\nsize \n`,
    'a size over 2^53': `${version}\noid sha256:${oid}\nsize 9007199254740992\n`,
    'a line more': `${version}\noid sha256:${oid}\nsize 1\nx y\n`,
    'the oid twice': `${version}\noid sha256:${oid}\noid sha256:${oid}\nsize 1\n`,
    'a NUL': `${version}\0\noid sha256:${oid}\nsize 1\n`,
    'two spaces': `${version}\noid  sha256:${oid}\nsize 1\n`,
    'a tab': `version\thttps://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize 1\n`,
  }
  for (const [what, text] of Object.entries(cases)) t.equal(parse(text), undefined, what)
})

t.test('1,024 bytes are read, 1,025 are no pointer', async (t) => {
  const text = `${version}\noid sha256:${oid}\nsize 12345\n`
  t.same(parse(text.padEnd(maxPointerBytes, '\n')), is)
  t.equal(parse(text.padEnd(maxPointerBytes + 1, '\n')), undefined)
})

t.test('cut off anywhere before its last digits it is no pointer', async (t) => {
  const text = `${version}\noid sha256:${oid}\nsize 12345\n`
  const sizes: unknown[] = []
  for (let length = 0; length < text.length; length++) {
    const pointer = parse(text.slice(0, length))
    if (pointer) sizes.push(pointer.size)
  }
  t.same(sizes, [1, 12, 123, 1234, 12345])
})

t.test('a part of a larger buffer is read in its bounds', async (t) => {
  const text = `${version}\noid sha256:${oid}\nsize 12345`
  t.same(parsePointer(Buffer.from(`xx${text}678`).subarray(2, 2 + text.length)), is)
  t.same(parsePointer(new Uint8Array(Buffer.from(text))), is)
})

t.test('what is no oid and no size is not written', async (t) => {
  for (const size of [-1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => encodePointer({ oid, size }), { code: 'bad-size', message: `${size} is not a size in bytes` })
  for (const bad of ['', 'abc', oid.toUpperCase(), `${oid}\n`, `${oid}0`]) t.throws(() => encodePointer({ oid: bad, size: 1 }), { code: 'bad-oid' })
})

t.test('10,000 damaged pointers: nothing is thrown, and all that is read can be written', async (t) => {
  const below = seeded(71)
  const whole = Buffer.from(`${version}\next-0-a b\noid sha256:${oid}\nsize 12345\n`)
  let read = 0
  for (let i = 0; i < 10_000; i++) {
    const pointer = parsePointer(mutated(whole, below, [...Buffer.from('\r\n 0fa:-\0')]))
    if (!pointer) continue
    read += 1
    t.same(parsePointer(encodePointer(pointer)), pointer)
  }
  t.ok(read > 100, String(read))
})
