import t from 'tap'
import { readCookie, setCookie } from '../../../src/http/cookies.js'
import { checkSameOrigin } from '../../../src/http/same-origin.js'

t.test('a cookie is as narrow as the address allows', async (t) => {
  const cases: readonly (readonly [baseUrl: string, header: string])[] = [
    ['http://127.0.0.1:8080', 'cairn-session=x; Max-Age=60; Path=/; HttpOnly; SameSite=Lax'],
    ['https://hub.example', '__Host-cairn-session=x; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure'],
    ['https://example.com/hub', '__Secure-cairn-session=x; Max-Age=60; Path=/hub; HttpOnly; SameSite=Lax; Secure'],
    ['http://example.com/a/hub', 'cairn-session=x; Max-Age=60; Path=/a/hub; HttpOnly; SameSite=Lax'],
  ]
  for (const [baseUrl, header] of cases) t.equal(setCookie(baseUrl, 'cairn-session', 'x', 60), header)
})

t.test('only the name that this address gives is read', async (t) => {
  const header = 'a=1; cairn-session=plain; __Host-cairn-session=host;__Secure-cairn-session = secure ; cairn-session=second'
  t.equal(readCookie(header, 'http://127.0.0.1:8080', 'cairn-session'), 'plain')
  t.equal(readCookie(header, 'https://hub.example', 'cairn-session'), 'host')
  t.equal(readCookie(header, 'https://hub.example/x', 'cairn-session'), 'secure')
  t.equal(readCookie(header, 'http://127.0.0.1:8080', 'cairn-sign-in'), undefined)
  for (const odd of [undefined, '', ';;;', 'cairn-session', '=', 'xcairn-session=1']) t.equal(readCookie(odd, 'http://a', 'cairn-session'), undefined)
})

t.test('what a browser says about where a form was sent from is believed', async (t) => {
  const base = 'https://hub.example/below'
  const sent = (headers: Record<string, string>) => () => checkSameOrigin({ headers }, base)
  for (const headers of [
    {},
    { origin: 'https://hub.example' },
    { 'sec-fetch-site': 'same-origin' },
    { origin: 'https://hub.example', 'sec-fetch-site': 'same-origin' },
  ] as Record<string, string>[])
    t.doesNotThrow(sent(headers))
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: 'http://hub.example' },
    { origin: 'https://hub.example:444' },
    { origin: 'https://hub.example.evil.example' },
    { origin: 'null' },
    { origin: '' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'none' },
    { origin: 'https://hub.example', 'sec-fetch-site': 'cross-site' },
    { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
  ] as Record<string, string>[])
    t.throws(sent(headers), { code: 'forbidden' }, JSON.stringify(headers))
})
