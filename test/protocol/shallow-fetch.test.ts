import t from 'tap'
import { uploadPack } from '../../protocol/upload-pack.js'
import type { FetchPort } from '../../protocol/ports.js'
import { bodyOf, byteByByte, collect, fakeFetch, forever, noSlices, oidOf, pkts, refOf, refTable, wireText } from '../support/wire.js'

const [a, b, c, d, e] = [oidOf('a'), oidOf('b'), oidOf('c'), oidOf('d'), oidOf('e')]
const refs = refTable([refOf('refs/heads/dev', b), refOf('refs/heads/main', a), refOf('refs/heads/v1', c), refOf('refs/tags/v1', d, c)])
const pack = '000d\x01PACKdata0000'

function serve(version: 0 | 2, body: AsyncIterable<Uint8Array>, port: FetchPort) {
  const signal = new AbortController().signal
  return uploadPack({ version, body, open: async () => port, slices: noSlices, sleep: forever, keepaliveMs: 5000, signal })
}

const askV2 = (port: FetchPort, ...lines: readonly (string | readonly string[])[]) =>
  wireText(serve(2, bodyOf(pkts('command=fetch', '0001', 'no-progress', ...lines, '0000')), port))
const askV0 = (port: FetchPort, words: string, ...lines: readonly string[]) =>
  wireText(serve(0, bodyOf(pkts(`want ${a} no-progress side-band-64k ${words}\n`, ...lines)), port))
const shallowB = () => fakeFetch({ refs, oids: [a, b, c], deepen: () => ({ shallow: [b], unshallow: [] }) })

t.test('v2: shallow-info stands before the pack', async (t) => {
  const port = shallowB()
  t.equal(await askV2(port, `want ${a}`, 'deepen 2', 'done'), `0011shallow-info\n0034shallow ${b}0001000dpackfile\n${pack}`)
  t.same(port.deepened, [{ tips: [a], shallow: [], limit: { kind: 'depth', depth: 2 } }])
  t.same(port.requests[0]?.boundary, { shallow: [b], unshallow: [] })
})

t.test('v2: the shallow lines of a client are kept, what is not known here means nothing', async (t) => {
  const port = fakeFetch({ oids: [a, b, c] })
  t.equal(
    await askV2(port, `want ${a}`, `shallow ${b}`, `shallow ${e}`, `shallow ${b}`, `have ${c}`, 'done'),
    `0011shallow-info\n0001000dpackfile\n${pack}`,
  )
  t.same([port.deepened, port.requests[0]?.boundary], [[], { shallow: [b], unshallow: [] }])
  const unknown = fakeFetch({ oids: [a] })
  t.equal(await askV2(unknown, `want ${a}`, `shallow ${e}`, 'done'), `000dpackfile\n${pack}`)
  t.equal(unknown.requests[0]?.boundary, undefined)
})

t.test('v2: a depth that cuts nothing is a plain fetch', async (t) => {
  const port = fakeFetch({ oids: [a] })
  t.equal(await askV2(port, `want ${a}`, 'deepen 100', 'done'), `0011shallow-info\n0001000dpackfile\n${pack}`)
  t.equal(port.requests[0]?.boundary, undefined)
})

t.test('v2: ready, then shallow-info, in one answer; without ready only acknowledgments', async (t) => {
  const lines = [`want ${a}`, `shallow ${b}`, 'deepen 2', `have ${c}`]
  const ready = fakeFetch({ oids: [a, b, c], reaches: () => true, deepen: () => ({ shallow: [c], unshallow: [b] }) })
  t.equal(
    await askV2(ready, ...lines),
    `0014acknowledgments\n0031ACK ${c}\n000aready\n00010011shallow-info\n0034shallow ${c}0036unshallow ${b}0001000dpackfile\n${pack}`,
  )
  t.same(ready.requests[0]?.boundary, { shallow: [b, c], unshallow: [b] })
  const more = fakeFetch({ oids: [a, b, c] })
  t.equal(await askV2(more, ...lines), `0014acknowledgments\n0031ACK ${c}\n0000`)
  t.same(more.deepened, [])
})

t.test('deepen-relative counts from the shallow commits of the client', async (t) => {
  const v2 = fakeFetch({ oids: [a, b] })
  await askV2(v2, `want ${a}`, `shallow ${b}`, 'deepen-relative', 'deepen 3', 'done')
  const v0 = fakeFetch({ oids: [a, b] })
  await askV0(v0, 'deepen-relative', `shallow ${b}`, 'deepen 3', '0000', 'done')
  for (const { deepened } of [v2, v0]) t.same(deepened, [{ tips: [b], shallow: [b], limit: { kind: 'depth', depth: 4 } }])
})

t.test('all of the history: every shallow commit gets its parents, without a walk', async (t) => {
  const port = fakeFetch({ oids: [a, b, c] })
  t.equal(
    await askV2(port, `want ${a}`, `shallow ${b}`, `shallow ${c}`, 'deepen 2147483647', 'done'),
    `0011shallow-info\n0036unshallow ${b}0036unshallow ${c}0001000dpackfile\n${pack}`,
  )
  t.same([port.deepened, port.requests[0]?.boundary], [[], { shallow: [b, c], unshallow: [b, c] }])
})

t.test('parents of a commit that the client may not have are not given away', async (t) => {
  const hidden = () => fakeFetch({ oids: [a, b, c], mayWant: (oid) => oid !== b })
  const all = hidden()
  t.equal(
    await askV2(all, `want ${a}`, `shallow ${b}`, `shallow ${c}`, 'deepen 2147483647', 'done'),
    `0011shallow-info\n0036unshallow ${c}0001000dpackfile\n${pack}`,
  )
  t.same(all.requests[0]?.boundary, { shallow: [b, c], unshallow: [c] }, 'it still ends what the client has')
  const more = hidden()
  await askV2(more, `want ${a}`, `shallow ${b}`, `shallow ${c}`, 'deepen-relative', 'deepen 1', 'done')
  t.same(more.deepened, [{ tips: [c], shallow: [b, c], limit: { kind: 'depth', depth: 2 } }])
})

t.test('deepen-since and deepen-not: refs are found as git finds them', async (t) => {
  const named = async (...lines: readonly string[]) => {
    const port = fakeFetch({ refs, oids: [a] })
    const answer = await askV2(port, `want ${a}`, ...lines, 'done')
    return port.deepened[0]?.limit ?? answer
  }
  t.same(await named('deepen-since 1600000000\n'), { kind: 'revisions', since: 1_600_000_000, not: [] })
  t.same(await named('deepen-since 7', 'deepen-not dev'), { kind: 'revisions', since: 7, not: [b] })
  for (const name of ['refs/heads/dev', 'heads/dev', 'dev'])
    t.same(await named(`deepen-not ${name}`), { kind: 'revisions', since: undefined, not: [b] })
  t.same(await named('deepen-not HEAD', 'deepen-not tags/v1'), { kind: 'revisions', since: undefined, not: [a, d] })
  t.equal(await named('deepen-not v1'), "0026ERR deepen-not: 'v1' is ambiguous\n")
  t.equal(await named('deepen-not nope'), "002aERR deepen-not: 'nope' is no ref here\n")
})

t.test('v0: the shallow section opens every answer of the exchange, and ends the first', async (t) => {
  const section = `0034shallow ${b}0000`
  t.equal(await askV0(shallowB(), 'multi_ack_detailed', 'deepen 2', '0000'), section, 'the body ends there')
  t.equal(await askV0(shallowB(), 'multi_ack_detailed', 'deepen 2', '0000', `have ${c}`, '0000'), `${section}0038ACK ${c} common\n0008NAK\n`)
  const port = shallowB()
  t.equal(await askV0(port, 'multi_ack_detailed', 'deepen 2', '0000', `have ${c}`, 'done'), `${section}0038ACK ${c} common\n0031ACK ${c}\n${pack}`)
  t.same(port.requests[0]?.boundary, { shallow: [b], unshallow: [] })
  const kept = fakeFetch({ oids: [a, b, c] })
  t.equal(await askV0(kept, 'multi_ack_detailed', `shallow ${b}`, '0000', `have ${c}`, 'done'), `0038ACK ${c} common\n0031ACK ${c}\n${pack}`)
  t.same(kept.requests[0]?.boundary, { shallow: [b], unshallow: [] }, 'no section without a wish to deepen')
})

t.test('what cannot be cut is refused in the format', async (t) => {
  const blob = fakeFetch({ oids: [a, b] })
  Object.assign(blob.view, { typeOf: () => 3 })
  t.equal(await askV2(blob, `want ${a}`, `shallow ${b}`, 'done'), `0048ERR invalid shallow object ${b}\n`)
  t.equal(blob.released, 1)
  const lines = Array.from({ length: 100_001 }, () => `shallow ${b}`)
  t.equal(await askV2(fakeFetch({ oids: [a] }), `want ${a}`, lines), '0036ERR more than 100000 shallow lines in one request\n')
  const not = Array.from({ length: 101 }, () => 'deepen-not dev')
  t.equal(await askV2(fakeFetch({ oids: [a] }), `want ${a}`, not), '0028ERR more than 100 refs to leave out\n')
})

t.test('cut at every length a request is an error, a byte at a time it is the same', async (t) => {
  const whole = pkts('command=fetch', '0001', `want ${a}`, `shallow ${b}`, 'deepen-relative', 'deepen 2', 'done', '0000')
  for (let cut = 0; cut < whole.length; cut++) {
    await t.rejects(collect(serve(2, bodyOf(whole.subarray(0, cut)), fakeFetch({ oids: [a, b] }))), { code: 'bad-request' }, `cut at ${cut}`)
  }
  const [one, other] = [fakeFetch({ oids: [a, b] }), fakeFetch({ oids: [a, b] })]
  t.equal(await wireText(serve(2, byteByByte(whole), one)), await wireText(serve(2, bodyOf(whole), other)))
  t.same(one.deepened, other.deepened)
})

t.test('answers that are cut otherwise are kept apart', async (t) => {
  const keys: string[] = []
  const cache = { find: (key: string) => void keys.push(key), record: () => ({ add: () => undefined, keep: () => undefined, end: () => undefined }) }
  const ask = async (shallow: readonly (typeof a)[], ...lines: readonly string[]) =>
    askV2({ ...fakeFetch({ oids: [a, b, c], deepen: () => ({ shallow, unshallow: [] }) }), cache }, `want ${a}`, ...lines, 'done')
  await ask([])
  await ask([], 'deepen 9')
  t.equal(keys[0], keys[1], 'nothing was cut')
  await ask([b], 'deepen 2')
  await ask([c], 'deepen 1')
  await ask([], `shallow ${b}`, `have ${b}`)
  await ask([], `have ${b}`)
  await ask([], `shallow ${b}`, 'deepen 2147483647', `have ${b}`)
  t.equal(new Set(keys).size, 6)
})
