import t from 'tap'
import { contentDisposition } from '../../../src/http/content-disposition.js'

t.test('file names of every kind', async (t) => {
  const cases: readonly [name: string, extended: string, plain: string][] = [
    ['config.json', 'config.json', 'config.json'],
    ['with space.txt', 'with%20space.txt', 'with space.txt'],
    ['größe.txt', 'gr%C3%B6%C3%9Fe.txt', 'gr??e.txt'],
    ['模型.bin', '%E6%A8%A1%E5%9E%8B.bin', '??.bin'],
    ['😀.txt', '%F0%9F%98%80.txt', '?.txt'],
    ['a"b.txt', 'a%22b.txt', 'a_b.txt'],
    ['a\\b.txt', 'a%5Cb.txt', 'a_b.txt'],
    ['a%22b.txt', 'a%2522b.txt', 'a_22b.txt'],
    ["it's(1)*.txt", 'it%27s%281%29%2A.txt', "it's(1)*.txt"],
    ['a;b=c.txt', 'a%3Bb%3Dc.txt', 'a;b=c.txt'],
    ['a\r\nSet-Cookie: x=1.txt', 'a%0D%0ASet-Cookie%3A%20x%3D1.txt', 'a??Set-Cookie: x=1.txt'],
    ['a\0b\x7f\x1b', 'a%00b%7F%1B', 'a?b??'],
    ['\ufffd.bin', '%EF%BF%BD.bin', '?.bin'],
    ['\ud800.bin', '%EF%BF%BD.bin', '?.bin'],
    ['', '', ''],
  ]
  for (const [name, extended, plain] of cases) {
    t.equal(contentDisposition('inline', name), `inline; filename*=UTF-8''${extended}; filename="${plain}";`, JSON.stringify(name))
  }
  t.equal(contentDisposition('attachment', 'x'), `attachment; filename*=UTF-8''x; filename="x";`)
})

t.test('no name makes anything but one line of printable ASCII', async (t) => {
  for (let code = 0; code < 0x3000; code++) {
    const value = contentDisposition('inline', `a${String.fromCharCode(code)}b`)
    if (!/^inline; filename\*=UTF-8''[A-Za-z0-9!%._~-]+; filename="[^"\\%]+";$/.test(value) || /[^\x20-\x7e]/.test(value)) t.fail(`${code}: ${value}`)
  }
  t.ok(contentDisposition('inline', '模'.repeat(5_000)).length < 3_000)
  t.ok(contentDisposition('inline', '😀'.repeat(5_000)).endsWith(`${'?'.repeat(255)}";`))
})
