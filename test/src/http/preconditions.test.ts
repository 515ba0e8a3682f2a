import t from 'tap'
import { checkPreconditions, rangeApplies } from '../../../src/http/preconditions.js'

const etag = '"abc"'

t.test('If-None-Match and If-Match', async (t) => {
  const cases: readonly [headers: Record<string, string>, expected: string][] = [
    [{}, 'send'],
    [{ 'if-none-match': '"abc"' }, 'not-modified'],
    [{ 'if-none-match': 'W/"abc"' }, 'not-modified'],
    [{ 'if-none-match': '"x", W/"y" ,"abc"' }, 'not-modified'],
    [{ 'if-none-match': '"x,abc,y"' }, 'send'],
    [{ 'if-none-match': 'abc' }, 'not-modified'],
    [{ 'if-none-match': '*' }, 'not-modified'],
    [{ 'if-none-match': '"abcd"' }, 'send'],
    [{ 'if-none-match': '"ABC"' }, 'send'],
    [{ 'if-none-match': '' }, 'send'],
    [{ 'if-none-match': '"' }, 'send'],
    [{ 'if-match': '"abc"' }, 'send'],
    [{ 'if-match': '*' }, 'send'],
    [{ 'if-match': '"x"' }, 'failed'],
    [{ 'if-match': 'W/"abc"' }, 'failed'],
    [{ 'if-match': '' }, 'failed'],
    [{ 'if-match': '"x"', 'if-none-match': '"abc"' }, 'failed'],
    [{ 'if-match': '"abc"', 'if-none-match': '"abc"' }, 'not-modified'],
    [{ 'if-modified-since': 'Sat, 29 Oct 2044 19:43:31 GMT' }, 'send'],
    [{ 'if-unmodified-since': 'Sat, 29 Oct 1994 19:43:31 GMT' }, 'send'],
  ]
  for (const [headers, expected] of cases) t.equal(checkPreconditions(headers, etag), expected, JSON.stringify(headers))
})

t.test('If-Range lets a range through for exactly this file', async (t) => {
  const cases: readonly [value: string | undefined, expected: boolean][] = [
    [undefined, true],
    ['"abc"', true],
    [' "abc" ', true],
    ['W/"abc"', false],
    ['"x"', false],
    ['*', false],
    ['Sat, 29 Oct 1994 19:43:31 GMT', false],
  ]
  for (const [value, expected] of cases) t.equal(rangeApplies(value === undefined ? {} : { 'if-range': value }, etag), expected, String(value))
})

t.test('a list of tags as long as a header can be is read in no time', async (t) => {
  const at = performance.now()
  t.equal(checkPreconditions({ 'if-none-match': '"'.repeat(16_000) }, etag), 'send')
  t.equal(checkPreconditions({ 'if-none-match': 'W/'.repeat(8_000) }, etag), 'send')
  t.ok(performance.now() - at < 500)
})
