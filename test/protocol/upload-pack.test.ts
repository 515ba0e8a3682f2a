import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { agent } from '../../protocol/capabilities.js'
import { ProtocolError } from '../../protocol/errors.js'
import type { FetchPort } from '../../protocol/ports.js'
import { advertiseUploadPack, uploadPack, type UploadPackOptions } from '../../protocol/upload-pack.js'
import {
  bodyOf,
  byteByByte,
  collect,
  fakeFetch,
  forever,
  handClock,
  noSlices,
  oidOf,
  pkts,
  refOf,
  refTable,
  wireText,
  type FakeFetch,
} from '../support/wire.js'

const a = oidOf('a')
const b = oidOf('b')
const c = oidOf('c')
const d = oidOf('d')
const e = oidOf('e')
const refs = refTable([refOf('refs/heads/dev', b), refOf('refs/heads/main', a), refOf('refs/pr/1', d), refOf('refs/tags/v1', c, a)])
const empty = refTable([])

function serve(
  version: 0 | 1 | 2,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  port: FetchPort,
  options: Partial<UploadPackOptions> = {},
): AsyncGenerator<Uint8Array> {
  return uploadPack({
    version,
    body: body instanceof Uint8Array ? bodyOf(body) : body,
    open: async () => port,
    slices: noSlices,
    sleep: forever,
    keepaliveMs: 5000,
    signal: new AbortController().signal,
    ...options,
  })
}

const answerTo = (version: 0 | 1 | 2, body: Uint8Array, port: FetchPort) => wireText(serve(version, body, port))
const ask = (port: FetchPort, ...lines: readonly (string | readonly string[])[]) =>
  answerTo(2, pkts('command=fetch', 'agent=git/2.39.5', 'object-format=sha1', '0001', ...lines, '0000'), port)

t.test('advertisements', async (t) => {
  t.test('we go by the name and version of the package', async (t) => {
    const { name, version } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', '..', 'package.json'), 'utf8')) as {
      name: string
      version: string
    }
    t.equal(agent, `${name}/${version}`)
  })

  t.test('v2 names what it can do, and no refs', async (t) => {
    t.equal(
      await wireText(advertiseUploadPack(refs, 2)),
      '000eversion 2\n0016agent=cairn/0.1.0\n0013ls-refs=unborn\n0034fetch=shallow wait-for-done filter sideband-all\n0012server-option\n0017object-format=sha1\n0015object-info=size\n0000',
    )
  })

  const words =
    'multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag multi_ack_detailed allow-tip-sha1-in-want allow-reachable-sha1-in-want no-done filter'

  t.test('v0 lists HEAD, the refs and what tags peel to', async (t) => {
    t.equal(
      await wireText(advertiseUploadPack(refs, 0)),
      [
        '001e# service=git-upload-pack\n0000',
        `0147${a} HEAD\0${words} symref=HEAD:refs/heads/main object-format=sha1 agent=cairn/0.1.0\n`,
        `003c${b} refs/heads/dev\n`,
        `003d${a} refs/heads/main\n`,
        `0037${d} refs/pr/1\n`,
        `003a${c} refs/tags/v1\n`,
        `003d${a} refs/tags/v1^{}\n`,
        '0000',
      ].join(''),
    )
  })

  t.test('v1 is v0 behind a line that says so', async (t) => {
    const v0 = await wireText(advertiseUploadPack(refs, 0))
    t.equal(await wireText(advertiseUploadPack(refs, 1)), v0.replace('\n0000', '\n0000000eversion 1\n'))
  })

  t.test('an empty repository still names its capabilities in v0', async (t) => {
    t.equal(
      await wireText(advertiseUploadPack(empty, 0)),
      `001e# service=git-upload-pack\n00000136${'0'.repeat(40)} capabilities^{}\0${words} object-format=sha1 agent=cairn/0.1.0\n0000`,
    )
  })
})

t.test('ls-refs', async (t) => {
  const list = (...args: readonly (string | readonly string[])[]) =>
    answerTo(2, pkts('command=ls-refs\n', 'agent=git/2.39.5', 'object-format=sha1', '0001', ...args, '0000'), fakeFetch({ refs }))

  t.test('lists every ref, HEAD first', async (t) => {
    const all = `0032${a} HEAD\n003c${b} refs/heads/dev\n003d${a} refs/heads/main\n0037${d} refs/pr/1\n003a${c} refs/tags/v1\n0000`
    t.equal(await list(), all)
    const port = fakeFetch({ refs })
    t.equal(await answerTo(2, pkts('command=ls-refs', 'agent=git/isomorphic-git@1.44', '0000'), port), all, 'without a delimiter')
    t.equal(port.released, 1)
    t.equal(await wireText(serve(2, byteByByte(pkts('command=ls-refs\n', '0001', '0000')), fakeFetch({ refs }))), all, 'a byte at a time')
  })

  t.test('tells symrefs and peeled tags to those who ask', async (t) => {
    t.equal(
      await list('peel\n', 'symrefs\n', 'ref-prefix HEAD\n', 'ref-prefix refs/tags/\n'),
      `0050${a} HEAD symref-target:refs/heads/main\n006a${c} refs/tags/v1 peeled:${a}\n0000`,
    )
  })

  t.test('prefixes are bytes of the full name, in any order, overlapping or repeated', async (t) => {
    t.equal(
      await list('ref-prefix refs/tags/', 'ref-prefix refs/heads/m', 'ref-prefix refs/heads/main', 'ref-prefix refs/tags/'),
      `003d${a} refs/heads/main\n003a${c} refs/tags/v1\n0000`,
    )
    t.equal(await list('ref-prefix heads/'), '0000')
    t.equal(await list('ref-prefix refs/zzz'), '0000')
    t.equal(await list('ref-prefix H'), `0032${a} HEAD\n0000`)
    t.match(await list('ref-prefix '), /^0032a+ HEAD\n003cb+ refs\/heads\/dev\n/, 'the empty prefix is every ref')
  })

  t.test('past 65,536 prefixes it lists everything', async (t) => {
    const many = Array.from({ length: 65_537 }, (_, i) => `ref-prefix refs/x/${i}`)
    t.match(await list(many), / HEAD\n.* refs\/heads\/dev\n/s)
    t.equal(await list(many.slice(1)), '0000')
  })

  t.test('HEAD of an empty repository is told to those who ask for symrefs and unborn', async (t) => {
    const answer = (...args: readonly string[]) => answerTo(2, pkts('command=ls-refs', '0001', ...args, '0000'), fakeFetch({ refs: empty }))
    t.equal(await answer('peel', 'symrefs', 'unborn', 'ref-prefix HEAD'), '002eunborn HEAD symref-target:refs/heads/main\n0000')
    t.equal(await answer('symrefs', 'unborn', 'ref-prefix refs/heads/'), '0000')
    t.equal(await answer('symrefs'), '0000')
    t.equal(await answer('unborn'), '0000')
  })

  t.test('50,000 refs come in chunks of 64 KiB', async (t) => {
    const many = refTable(Array.from({ length: 50_000 }, (_, i) => refOf(`refs/heads/${String(i).padStart(5, '0')}`, a)))
    const sizes: number[] = []
    for await (const chunk of serve(2, pkts('command=ls-refs', '0000'), fakeFetch({ refs: many }))) sizes.push(chunk.length)
    t.equal(sizes.length, 48)
    t.ok(sizes.slice(0, -1).every((size) => size > 65_300 && size <= 65_536))
  })
})

t.test('v2 requests that cannot be served are answered in the format', async (t) => {
  const cases: readonly [lines: readonly string[], message: string][] = [
    [['agent=x', '0000'], 'no command requested'],
    [['0002'], 'unexpected response-end'],
    [['command=bundle-uri', '0000'], "invalid command 'bundle-uri'"],
    [['command=fetch', 'command=ls-refs', '0000'], "command 'ls-refs' requested after already requesting 'fetch'"],
    [['command=fetch', 'shiny=1', '0000'], "unknown capability 'shiny=1'"],
    [['command=fetch', 'not a capability', '0000'], "unknown capability 'not a capability'"],
    [['command=fetch', 'object-format=sha256', '0001', '0000'], 'object format sha256 is not supported: repositories here use sha1'],
    [['command=ls-refs', '0001', 'peal', '0000'], "ls-refs: unexpected line: 'peal'"],
    [['command=ls-refs', '0001', '0001'], 'ls-refs: expected a flush after the arguments'],
    [['command=fetch', '0001', '0001'], 'fetch: expected a flush after the arguments'],
    [['command=fetch', '0001', 'deepen 0', '0000'], "expected a depth to deepen to, got '0'"],
    [['command=fetch', '0001', 'deepen -1', '0000'], "expected a depth to deepen to, got '-1'"],
    [['command=fetch', '0001', 'deepen 2147483648', '0000'], "expected a depth to deepen to, got '2147483648'"],
    [['command=fetch', '0001', 'deepen 1x', '0000'], "expected a depth to deepen to, got '1x'"],
    [['command=fetch', '0001', 'deepen-since yesterday', '0000'], "expected a time to deepen to, got 'yesterday'"],
    [['command=fetch', '0001', 'deepen', '0000'], "unexpected line: 'deepen'"],
    [['command=fetch', '0001', 'shallow main', '0000'], 'expected an object id of 40 hex digits, got "main"'],
    [['command=fetch', '0001', `want ${a}`, 'deepen 1', 'deepen-since 5', '0000'], 'deepen and deepen-since (or deepen-not) cannot be used together'],
    [['command=fetch', '0001', `want ${a}`, 'deepen-not dev', 'deepen 1', '0000'], 'deepen and deepen-since (or deepen-not) cannot be used together'],
    [['command=fetch', '0001', `want ${a}`, 'deepen-not side', '0000'], "deepen-not: 'side' is no ref here"],
    [['command=fetch', '0001', 'want-ref refs/heads/none', '0000'], 'unknown ref refs/heads/none'],
    [['command=fetch', '0001', 'want-ref refs/heads/main', 'want-ref refs/heads/main', '0000'], 'duplicate want-ref refs/heads/main'],
    [['command=fetch', '0001', 'packfile-uris https', '0000'], 'packfile-uris is not supported'],
    [['command=object-info', '0001', 'oid main', '0000'], 'expected an object id of 40 hex digits, got "main"'],
    [['command=object-info', '0001', 'type', '0000'], "object-info: unexpected line: 'type'"],
    [['command=object-info', '0001', '0001'], 'object-info: expected a flush after the arguments'],
    [['command=fetch', '0001', 'frobnicate\x1b', '0000'], "unexpected line: 'frobnicate'"],
    [['command=fetch', '0001', 'want abc', '0000'], 'expected an object id of 40 hex digits, got "abc"'],
    [['command=fetch', '0001', `want ${e}`, '0000'], `upload-pack: not our ref ${e}`],
  ]
  for (const [lines, message] of cases) {
    const line = `ERR ${message}\n`
    t.equal(await answerTo(2, pkts(...lines), fakeFetch({ refs, oids: [a] })), `${(line.length + 4).toString(16).padStart(4, '0')}${line}`, message)
  }
  const hidden = fakeFetch({ oids: [a, b], mayWant: (oid) => oid !== b })
  t.equal(await ask(hidden, `want ${a}`, `want ${b}`, 'done'), `004aERR upload-pack: not our ref ${b}\n`)
  t.equal(hidden.released, 1)
})

t.test('what is no request at all is thrown before the first byte', async (t) => {
  for (const version of [0, 1, 2] as const) {
    await t.rejects(collect(serve(version, Buffer.alloc(0), fakeFetch({}))), { code: 'bad-request', message: 'the request is empty' })
    await t.rejects(collect(serve(version, Buffer.from('GET /'), fakeFetch({}))), { code: 'bad-request', message: 'bad pkt-line length "GET "' })
  }
  await t.rejects(collect(serve(2, pkts('command=fetch'), fakeFetch({}))), { message: 'the request ends before its flush' })
  await t.rejects(collect(serve(2, pkts('command=ls-refs', '0001', 'peel'), fakeFetch({}))), {
    message: 'ls-refs: expected a flush after the arguments',
  })
  await t.rejects(collect(serve(0, pkts(`want ${a}`), fakeFetch({}))), { message: 'the request ends before its flush' })
  const whole = pkts('command=fetch', '0001', `want ${a}`, 'done', '0000')
  for (let cut = 0; cut < whole.length; cut++) {
    await t.rejects(
      collect(serve(2, whole.subarray(0, cut), fakeFetch({ oids: [a] }))),
      { name: 'ProtocolError', code: 'bad-request' },
      `cut at ${cut}`,
    )
  }
})

t.test('a flush alone is a probe and gets one back', async (t) => {
  for (const version of [0, 1, 2] as const) t.equal(await answerTo(version, Buffer.from('0000'), fakeFetch({})), '0000')
})

t.test('limits are told to the client', async (t) => {
  const wants = Array.from({ length: 100_001 }, () => `want ${a}`)
  t.equal(await ask(fakeFetch({ oids: [a] }), wants), '002eERR more than 100000 wants in one request\n')
  t.equal(await ask(fakeFetch({ oids: [a] }), wants.slice(1), 'done'), `000dpackfile\n000d\x01PACKdata0000`)
  t.equal(
    await ask(
      fakeFetch({ oids: [a] }),
      `want ${a}`,
      wants.map(() => `have ${b}`),
    ),
    '002eERR more than 100000 haves in one request\n',
  )
  const flood = Array.from({ length: 300 }, () => `server-option=${'x'.repeat(60_000)}`)
  t.equal(await answerTo(2, pkts('command=fetch', ...flood, '0000'), fakeFetch({})), '002bERR the request is over 16777216 bytes\n')
})

t.test('v2 fetch', async (t) => {
  t.test('a clone gets its pack at once', async (t) => {
    const port = fakeFetch({ oids: [a, b] })
    t.equal(
      await ask(port, 'thin-pack', 'ofs-delta', 'include-tag', 'no-progress', `want ${a}\n`, `want ${b}\n`, `want ${a.toUpperCase()}\n`, 'done\n'),
      '000dpackfile\n000d\x01PACKdata0000',
    )
    t.same(port.requests, [{ wants: [a, b], haves: [], thinPack: true, ofsDelta: true, includeTag: true }])
    t.equal(port.released, 1)
  })

  t.test('no haves and no done mean the same', async (t) => {
    const port = fakeFetch({ oids: [a] })
    t.equal(await ask(port, `want ${a}`), '000dpackfile\n000d\x01PACKdata0000')
    t.same(port.requests, [{ wants: [a], haves: [], thinPack: false, ofsDelta: false, includeTag: false }])
  })

  t.test('nothing in common: NAK, and the client goes on', async (t) => {
    const port = fakeFetch({ oids: [a] })
    t.equal(await ask(port, `want ${a}`, `have ${d}`), '0014acknowledgments\n0008NAK\n0000')
    t.same([port.requests, port.asked, port.released], [[], [], 1])
  })

  t.test('something in common, not enough: acknowledged, and the client goes on', async (t) => {
    const port = fakeFetch({ oids: [a, b, c] })
    t.equal(await ask(port, `want ${a}`, `have ${d}`, `have ${b}`, `have ${c}`, `have ${b}`), `0014acknowledgments\n0031ACK ${b}\n0031ACK ${c}\n0000`)
    t.same(port.asked, [[b, c]])
  })

  t.test('enough in common: ready, and the pack in the same answer', async (t) => {
    const port = fakeFetch({ oids: [a, b], reaches: () => true })
    t.equal(
      await ask(port, `want ${a}`, `have ${d}`, `have ${b}`),
      `0014acknowledgments\n0031ACK ${b}\n000aready\n0001000dpackfile\n000d\x01PACKdata0000`,
    )
    t.same(port.requests, [{ wants: [a], haves: [b], thinPack: false, ofsDelta: false, includeTag: false }])
  })

  t.test('done: no acknowledgments, but the haves count', async (t) => {
    const port = fakeFetch({ oids: [a, b] })
    t.equal(await ask(port, `want ${a}`, `have ${b}`, `have ${d}`, 'done'), '000dpackfile\n000d\x01PACKdata0000')
    t.same([port.requests[0]?.haves, port.asked], [[b], []])
  })

  t.test('wait-for-done: never ready, and without wants only what we have in common', async (t) => {
    const port = fakeFetch({ oids: [a, b], reaches: () => true })
    t.equal(await ask(port, 'wait-for-done', `want ${a}`, `have ${b}`), `0014acknowledgments\n0031ACK ${b}\n0000`)
    t.equal(await ask(port, 'wait-for-done', `have ${b}`, `have ${d}`), `0014acknowledgments\n0031ACK ${b}\n0000`)
    t.same([port.requests, port.asked], [[], []])
  })

  t.test('nothing wanted gets a flush', async (t) => {
    for (const lines of [[], ['done'], [`have ${b}`], ['wait-for-done'], ['wait-for-done', `have ${b}`, 'done']]) {
      t.equal(await ask(fakeFetch({ oids: [b] }), ...lines), '0000', lines.join(' '))
    }
    t.equal(await answerTo(2, pkts('command=fetch', '0000'), fakeFetch({})), '0000')
  })

  t.test('other work gets its turn', async (t) => {
    let turns = 0
    const slices = { pause: () => (turns++, Promise.resolve()) }
    const haves = Array.from({ length: 1001 }, (_, i) => `have ${i.toString(16).padStart(40, '0')}`)
    const v2 = pkts('command=fetch', '0001', `want ${a}`, ...haves, 'done', '0000')
    await collect(serve(2, v2, fakeFetch({ oids: [a, b] }), { slices }))
    t.equal(turns, 3)
    await collect(serve(0, pkts(`want ${a}`, '0000', ...haves, 'done'), fakeFetch({ oids: [a, b] }), { slices }))
    t.equal(turns, 1004)
  })
})

t.test('v0 negotiation', async (t) => {
  const caps = 'side-band-64k ofs-delta thin-pack include-tag no-progress object-format=sha1 agent=git/2.39.5'
  const pack = '000d\x01PACKdata0000'
  const round = (port: FakeFetch, words: string, ...lines: readonly string[]) =>
    answerTo(0, pkts(`want ${a} ${words} ${caps}\n`, '0000', ...lines), port)

  t.test('a clone: NAK and the pack', async (t) => {
    const port = fakeFetch({ oids: [a, b] })
    const body = pkts(`want ${a} multi_ack_detailed no-done ${caps}\n`, `want ${b}\n`, `want ${a}\n`, '0000', 'done\n')
    t.equal(await answerTo(0, body, port), `0008NAK\n${pack}`)
    t.equal(await answerTo(1, body, port), `0008NAK\n${pack}`)
    t.equal(await wireText(serve(0, byteByByte(body), port)), `0008NAK\n${pack}`)
    t.same(port.requests[0], { wants: [a, b], haves: [], thinPack: true, ofsDelta: true, includeTag: true })
    t.equal(port.released, 3)
  })

  t.test('plain: one ACK for the first have in common, NAK while there is none', async (t) => {
    const port = fakeFetch({ oids: [a, b, c], reaches: () => true })
    t.equal(await round(port, '', `have ${d}`, `have ${e}`, '0000'), '0008NAK\n')
    t.equal(await round(port, '', `have ${d}`, `have ${b}`, `have ${c}`, '0000'), `0031ACK ${b}\n`)
    t.equal(await round(port, '', `have ${b}`, `have ${c}`, 'done'), `0031ACK ${b}\n${pack}`)
    t.equal(await round(port, '', `have ${d}`, 'done'), `0008NAK\n${pack}`)
    t.same(
      port.requests.map(({ haves }) => haves),
      [[b, c], []],
    )
    t.same(port.asked, [])
  })

  t.test('multi_ack: every have in common, and once it is enough every have', async (t) => {
    const reaches = (haves: readonly string[]) => haves.includes(c)
    const port = fakeFetch({ oids: [a, b, c], reaches })
    t.equal(
      await round(port, 'multi_ack', `have ${b}`, `have ${d}`, `have ${e}`, `have ${c}`, `have ${d}`, '0000'),
      `003aACK ${b} continue\n003aACK ${c} continue\n003aACK ${d} continue\n0008NAK\n`,
    )
    t.same(port.asked, [[b], [b, c]], 'asked again only when there is more in common')
    t.equal(await round(port, 'multi_ack', `have ${b}`, 'done'), `003aACK ${b} continue\n0031ACK ${b}\n${pack}`)
    t.equal(await round(port, 'multi_ack', 'done'), `0008NAK\n${pack}`)
  })

  t.test('multi_ack_detailed: common, then ready', async (t) => {
    const port = fakeFetch({ oids: [a, b, c], reaches: (haves) => haves.includes(c) })
    t.equal(await round(port, 'multi_ack multi_ack_detailed', `have ${b}`, '0000'), `0038ACK ${b} common\n0008NAK\n`)
    t.equal(
      await round(port, 'multi_ack_detailed', `have ${b}`, `have ${c}`, '0000'),
      `0038ACK ${b} common\n0038ACK ${c} common\n0037ACK ${c} ready\n0008NAK\n`,
    )
    t.equal(await round(port, 'multi_ack_detailed', `have ${c}`, `have ${d}`, '0000'), `0038ACK ${c} common\n0037ACK ${d} ready\n0008NAK\n`)
    t.equal(await round(port, 'multi_ack_detailed', `have ${d}`, '0000'), '0008NAK\n')
    t.equal(await round(port, 'multi_ack_detailed', `have ${c}`, 'done'), `0038ACK ${c} common\n0031ACK ${c}\n${pack}`)
  })

  t.test('no-done: the pack follows ready', async (t) => {
    const port = fakeFetch({ oids: [a, b, c], reaches: (haves) => haves.includes(c) })
    t.equal(await round(port, 'multi_ack_detailed no-done', `have ${b}`, '0000'), `0038ACK ${b} common\n0008NAK\n`)
    t.equal(
      await round(port, 'multi_ack_detailed no-done', `have ${c}`, '0000'),
      `0038ACK ${c} common\n0037ACK ${c} ready\n0008NAK\n0031ACK ${c}\n${pack}`,
    )
    t.equal(
      await round(port, 'multi_ack_detailed no-done', `have ${c}`, `have ${d}`, '0000'),
      `0038ACK ${c} common\n0037ACK ${d} ready\n0008NAK\n0031ACK ${c}\n${pack}`,
    )
  })

  t.test('an end between two lines counts as a flush, as for git', async (t) => {
    t.equal(await round(fakeFetch({ oids: [a] }), 'multi_ack_detailed'), '0008NAK\n')
    t.equal(await round(fakeFetch({ oids: [a, b] }), 'multi_ack_detailed', `have ${b}`), `0038ACK ${b} common\n0008NAK\n`)
  })

  t.test('the pack goes bare, in small packets or in large ones, as asked', async (t) => {
    const long = 'x'.repeat(2000)
    const port = () => fakeFetch({ oids: [a], answer: () => bodyOf(long) })
    t.equal(await answerTo(0, pkts(`want ${a}`, '0000', 'done'), port()), `0008NAK\n${long}`)
    t.equal(
      await answerTo(0, pkts(`want ${a} side-band`, '0000', 'done'), port()),
      `0008NAK\n03e8\x01${'x'.repeat(995)}03e8\x01${'x'.repeat(995)}000f\x01${'x'.repeat(10)}0000`,
    )
    t.equal(await answerTo(0, pkts(`want ${a} side-band side-band-64k`, '0000', 'done'), port()), `0008NAK\n07d5\x01${long}0000`)
  })

  t.test('lines that mean nothing, and what is not offered, are answered in the format', async (t) => {
    const cases: readonly [lines: readonly string[], message: string][] = [
      [['command=ls-refs', '0000'], "unexpected line: 'command=ls-refs'"],
      [['0001'], "unexpected line: ''"],
      [[`want ${a} object-format=sha256`, '0000', 'done'], 'object format sha256 is not supported: repositories here use sha1'],
      [[`want ${a}`, `want ${a} ofs-delta`, '0000', 'done'], `unexpected line: 'want ${a} ofs-delta'`],
      [[`want ${a}`, 'deepen 0', '0000', 'done'], "expected a depth to deepen to, got '0'"],
      [[`want ${a}`, 'shallow', '0000', 'done'], "unexpected line: 'shallow'"],
      [[`want ${a}`, 'deepen-not side', '0000', 'done'], "deepen-not: 'side' is no ref here"],
      [[`want ${a}`, '0000', 'had', 'done'], "unexpected line: 'had'"],
      [['want xyz', '0000', 'done'], 'expected an object id of 40 hex digits, got "xyz"'],
      [[`want ${e}`, '0000', 'done'], `upload-pack: not our ref ${e}`],
    ]
    for (const [lines, message] of cases) {
      const line = `ERR ${message}\n`
      t.equal(await answerTo(0, pkts(...lines), fakeFetch({ refs, oids: [a] })), `${(line.length + 4).toString(16).padStart(4, '0')}${line}`, message)
    }
  })
})

t.test('while the pack is prepared', async (t) => {
  const body = pkts('command=fetch', '0001', `want ${a}`, 'done', '0000')
  const quiet = pkts('command=fetch', '0001', `want ${a}`, 'no-progress', 'done', '0000')

  t.test('progress and keepalives go out, then the pack', async (t) => {
    const clock = handClock()
    const begin = Promise.withResolvers<void>()
    const port = fakeFetch({
      oids: [a],
      async *answer({ onProgress }) {
        onProgress?.({ title: 'Counting objects', done: 1, total: 2 })
        await begin.promise
        onProgress?.({ title: 'Counting objects', done: 2, total: 2 })
        yield Buffer.from('PACK')
        onProgress?.({ title: 'Compressing objects', done: 1, total: 4 })
        yield Buffer.from('data')
      },
    })
    const answer = serve(2, body, port, clock)
    const next = async () => Buffer.from((await answer.next()).value as Uint8Array).toString()
    t.equal(await next(), '000dpackfile\n')
    t.equal(await next(), '0022\x02Counting objects:  50% (1/2)\r')
    let step = next()
    await clock.tick()
    await clock.tick()
    t.equal(await step, '0005\x01')
    step = next()
    begin.resolve()
    t.equal(await step, '0029\x02Counting objects: 100% (2/2), done.\n')
    t.equal(await next(), '0025\x02Compressing objects:  25% (1/4)\r')
    t.equal(await next(), '000d\x01PACKdata002c\x02Compressing objects:  25% (1/4), done.\n0000')
    t.same(await answer.next(), { done: true, value: undefined })
    t.equal(clock.sleepers, 0)
    t.equal(port.released, 1)
  })

  t.test('no-progress silences band 2', async (t) => {
    const port = fakeFetch({
      oids: [a],
      async *answer({ onProgress }) {
        t.equal(onProgress, undefined)
        yield Buffer.from('PACK')
      },
    })
    t.equal(await answerTo(2, quiet, port), '000dpackfile\n0009\x01PACK0000')
  })

  t.test('a client that leaves lets everything go', async (t) => {
    let closed = 0
    const port = fakeFetch({
      oids: [a],
      async *answer() {
        try {
          for (;;) yield Buffer.alloc(100_000)
        } finally {
          closed++
        }
      },
    })
    for await (const chunk of serve(2, quiet, port)) if (chunk.length > 1000) break
    t.same([closed, port.released], [1, 1])
  })

  const failing = (error: Error, after: number): FakeFetch =>
    fakeFetch({
      oids: [a],
      async *answer() {
        for (let i = 0; i < after; i++) yield Buffer.alloc(65_515, 'x')
        throw error
      },
    })

  t.test('what the port refuses before the first byte is an ERR, what is our fault is thrown', async (t) => {
    t.equal(await answerTo(2, quiet, failing(new ProtocolError('too-large', 'the pack is too large'), 0)), '001eERR the pack is too large\n')
    await t.rejects(answerTo(2, quiet, failing(new ProtocolError('corrupt', 'pack 7 is broken'), 0)), { code: 'corrupt' })
    await t.rejects(answerTo(2, quiet, failing(new Error('disk'), 0)), { message: 'disk' })
    const port = failing(new Error('disk'), 0)
    await t.rejects(collect(serve(2, quiet, port)))
    t.equal(port.released, 1)
  })

  t.test('after it, band 3 says so, and what is our fault is thrown behind it', async (t) => {
    const known = await answerTo(2, quiet, failing(new ProtocolError('too-large', 'too much'), 1))
    t.equal(known.slice(-14), '000e\x03too much\n')
    for (const error of [new Error('disk'), new ProtocolError('corrupt', 'pack 7 is broken')]) {
      let wire = ''
      const run = async () => {
        for await (const chunk of serve(2, quiet, failing(error, 1))) wire += Buffer.from(chunk).toString('latin1')
      }
      await t.rejects(run(), error)
      t.equal(wire.slice(-20), '0014\x03internal error\n')
    }
  })

  t.test('a bare pack has no words for it', async (t) => {
    const error = new ProtocolError('too-large', 'too much')
    await t.rejects(answerTo(0, pkts(`want ${a}`, '0000', 'done'), failing(error, 1)), error)
  })

  t.test('a repository that does not open is thrown as it came', async (t) => {
    const open = () => Promise.reject(new Error('gone'))
    for (const lines of [
      ['command=ls-refs', '0000'],
      ['command=fetch', '0001', `want ${a}`, '0000'],
    ]) {
      await t.rejects(collect(serve(2, pkts(...lines), fakeFetch({}), { open })), { message: 'gone' })
    }
    await t.rejects(collect(serve(0, pkts(`want ${a}`, '0000', 'done'), fakeFetch({}), { open })), { message: 'gone' })
  })

  t.test('a body that breaks is thrown as it came', async (t) => {
    async function* broken() {
      yield pkts('command=fetch')
      throw new Error('connection reset')
    }
    await t.rejects(collect(serve(2, broken(), fakeFetch({}))), { message: 'connection reset' })
  })
})
