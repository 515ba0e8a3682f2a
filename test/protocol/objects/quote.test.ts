import t from 'tap'
import { quoteBytes } from '../../../protocol/objects/quote.js'

t.test('bytes of a stranger are shown on one line, with everything invisible spelt out', async (t) => {
  const cases: readonly (readonly [Buffer, string])[] = [
    [Buffer.from(''), '""'],
    [Buffer.from('plain é 日'), '"plain é 日"'],
    [Buffer.from('a"b\\c'), '"a\\"b\\\\c"'],
    [Buffer.from('a\nb\r\t\0\x1b[31m\x7f'), '"a\\nb\\r\\t\\u0000\\u001b[31m\\u{7f}"'],
    [Buffer.from('.g\u200cit \u202egnp \ufeff \u2028\u2029 \u{e0041}'), '".g\\u{200c}it \\u{202e}gnp \\u{feff} \\u{2028}\\u{2029} \\u{e0041}"'],
    [Buffer.from('\xff\xfe', 'latin1'), '"\ufffd\ufffd"'],
    [Buffer.from('x'.repeat(100)), `"${'x'.repeat(100)}"`],
    [Buffer.from('x'.repeat(101)), `"${'x'.repeat(100)}"…`],
    [Buffer.from('é'.repeat(60).slice(0, 60)), `"${'é'.repeat(50)}"…`],
  ]
  for (const [bytes, shown] of cases) t.equal(quoteBytes(bytes), shown)
  t.equal(quoteBytes(Buffer.from('0123456789'), 3, 6), '"345"')
})
