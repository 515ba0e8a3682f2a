import t from 'tap'
import { createUrls, localPath } from '../../../src/web/urls.js'

t.test('after signing in one goes on to a path of this hub, and nowhere else', async (t) => {
  for (const next of ['/', '/a/b/upload', '/datasets/a/b/upload/feature/x?committed=1#top', '/a/%2F%2Fevil', '/@evil.example/x', '/a//b'])
    t.equal(localPath(next), next)
  const elsewhere = [
    undefined,
    '',
    'a/b',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    'https://evil.example/',
    'javascript:alert(1)',
    ' /a',
    '/\t/evil.example',
    '/a\nb',
    '/a\r\nset-cookie: x=y',
    '/\u00e9',
    '/.//evil.example',
    '/..//evil.example',
    '/a/..//evil.example',
    `/${'x'.repeat(2000)}`,
  ]
  for (const next of elsewhere) t.equal(localPath(next), undefined, JSON.stringify(next))
})

t.test('links know the path of the public address, the types of repositories and what is in a name', async (t) => {
  const plain = createUrls('http://127.0.0.1:8080')
  const below = createUrls('https://example.com/hub')
  const repo = { type: 'dataset', namespace: 'Alice', name: 'x' } as const
  t.equal(plain.upload({ ...repo, type: 'model' }), '/Alice/x/upload')
  t.equal(plain.upload(repo, 'feature/ä b?#'), '/datasets/Alice/x/upload/feature/%C3%A4%20b%3F%23')
  t.equal(below.upload({ ...repo, type: 'space' }, 'main', 'abc'), '/hub/spaces/Alice/x/upload/main?committed=abc')
  t.equal(plain.signIn(), '/sign-in')
  t.equal(below.signIn('/a?b=c&d'), '/hub/sign-in?next=%2Fa%3Fb%3Dc%26d')
  t.equal(below.signOut(), '/hub/sign-out')
  t.equal(below.local('/a/b'), '/hub/a/b')
  t.equal(below.stylesheet('hub.css'), '/hub/assets/hub.css')
})
