import t from 'tap'
import { listBundles } from '../../protocol/bundle-uri.js'
import { advertiseUploadPack, uploadPack } from '../../protocol/upload-pack.js'
import { bodyOf, collect, fakeFetch, forever, noSlices, pkts, refTable } from '../support/wire.js'

const offer = { id: 'all', uri: 'http://hub/a/b.git/bundle/x?token=y', creationToken: 12 }
const text = (chunks: Iterable<Buffer>) => Buffer.concat([...chunks]).toString('latin1')
const serve = (body: Buffer, more: object) =>
  collect(
    uploadPack({
      version: 2,
      body: bodyOf(body),
      sleep: forever,
      keepaliveMs: 1_000,
      signal: new AbortController().signal,
      slices: noSlices,
      open: async () => ({ ...fakeFetch({}), release: () => undefined }),
      ...more,
    }),
  )
const ask = (body: Buffer) => serve(body, { bundles: async () => [offer] })

t.test('the list, as git reads it', async (t) => {
  t.equal(
    text(listBundles([offer])),
    '0014bundle.version=1' +
      '0013bundle.mode=all' +
      '0022bundle.heuristic=creationToken' +
      '0036bundle.all.uri=http://hub/a/b.git/bundle/x?token=y' +
      '001fbundle.all.creationToken=12' +
      '0000',
  )
  t.equal(text(listBundles([])), '0014bundle.version=10013bundle.mode=all0022bundle.heuristic=creationToken0000')
})

t.test('nothing in it becomes another line', async (t) => {
  for (const bad of [{ id: 'a.b' }, { id: '' }, { uri: 'http://a\nb' }, { uri: 'http://a\rb' }, { uri: 'http://a b' }])
    t.throws(() => [...listBundles([{ ...offer, ...bad }])], { code: 'bad-request' }, JSON.stringify(bad))
})

t.test('the command, with and without its empty arguments; anything else is refused', async (t) => {
  const list = text(listBundles([offer]))
  t.equal((await ask(pkts('command=bundle-uri\n', '0000'))).toString('latin1'), list)
  t.equal((await ask(pkts('command=bundle-uri\n', '0001', '0000'))).toString('latin1'), list)
  t.match((await ask(pkts('command=bundle-uri\n', '0001', 'all\n', '0000'))).toString('latin1'), /ERR bundle-uri: expected a flush/)
})

t.test('it is advertised where it is known, and an invalid command where it is not', async (t) => {
  const refs = refTable([])
  t.match(text(advertiseUploadPack(refs, 2, { bundles: true })), /000fbundle-uri/)
  t.notMatch(text(advertiseUploadPack(refs, 2)), /bundle-uri/)
  t.match((await serve(pkts('command=bundle-uri\n', '0000'), {})).toString('latin1'), /invalid command 'bundle-uri'/)
})
