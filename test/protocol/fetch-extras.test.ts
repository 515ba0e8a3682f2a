import t from 'tap'
import { ProtocolError } from '../../protocol/errors.js'
import type { FetchPort } from '../../protocol/ports.js'
import { uploadPack, type UploadPackOptions } from '../../protocol/upload-pack.js'
import { bodyOf, collect, fakeFetch, forever, handClock, noSlices, oidOf, pkts, refOf, refTable, wireText } from '../support/wire.js'

const [a, b, c, d] = [oidOf('a'), oidOf('b'), oidOf('c'), oidOf('d')]
const refs = refTable([refOf('refs/heads/dev', b), refOf('refs/heads/main', a), refOf('refs/tags/v1', c, a)])

function serve(body: Uint8Array, port: FetchPort, options: Partial<UploadPackOptions> = {}): AsyncGenerator<Uint8Array> {
  const signal = new AbortController().signal
  return uploadPack({
    version: 2,
    body: bodyOf(body),
    open: async () => port,
    slices: noSlices,
    sleep: forever,
    keepaliveMs: 5000,
    signal,
    ...options,
  })
}

const fetchOf = (...lines: readonly string[]) => pkts('command=fetch', '0001', 'no-progress', ...lines, '0000')
const ask = (port: FetchPort, ...lines: readonly string[]) => wireText(serve(fetchOf(...lines), port))

t.test('ref-in-want', async (t) => {
  t.test('refs are wanted by name, and the answer says where they stand: shallow-info, wanted-refs, packfile', async (t) => {
    const port = fakeFetch({ refs, oids: [a, b, c], deepen: () => ({ shallow: [a], unshallow: [] }) })
    t.equal(
      await ask(port, 'want-ref refs/heads/main', 'want-ref HEAD', 'want-ref refs/tags/v1', `want ${b}`, 'deepen 1', 'done'),
      [
        `0011shallow-info\n0034shallow ${a}0001`,
        `0010wanted-refs\n003d${a} refs/heads/main\n0032${a} HEAD\n003a${c} refs/tags/v1\n0001`,
        '000dpackfile\n000d\x01PACKdata0000',
      ].join(''),
    )
    t.same(
      [port.requests[0]?.wants, port.deepened[0]?.tips],
      [
        [b, a, c],
        [b, a, c],
      ],
    )
  })

  t.test('the talk about haves is about them as well', async (t) => {
    const port = fakeFetch({ refs, oids: [a, b], reaches: () => true })
    t.equal(
      await ask(port, 'want-ref refs/heads/main', `have ${b}`),
      `0014acknowledgments\n0031ACK ${b}\n000aready\n00010010wanted-refs\n003d${a} refs/heads/main\n0001000dpackfile\n000d\x01PACKdata0000`,
    )
  })

  t.test('what is hidden or gone is unknown', async (t) => {
    const port = fakeFetch({ refs, oids: [a] })
    for (const name of ['refs/internal/x', 'main', 'refs/heads/gone']) {
      t.match(await ask(port, `want-ref ${name}`, 'done'), new RegExp(`^00..ERR unknown ref ${name}\n$`))
    }
    t.equal(port.released, 3)
  })

  t.test('the pack is kept by what was sent, whatever it was called', async (t) => {
    const keys: string[] = []
    const cache = {
      find: (key: string) => void keys.push(key),
      record: () => ({ add: () => undefined, keep: () => undefined, end: () => undefined }),
    }
    for (const line of ['want-ref refs/heads/main', `want ${a}`, 'want-ref refs/heads/dev'])
      await ask({ ...fakeFetch({ refs, oids: [a, b] }), cache }, line, 'done')
    t.equal(keys[0], keys[1])
    t.not(keys[0], keys[2])
    const kept = { ...fakeFetch({ refs, oids: [a] }), cache: { ...cache, find: () => Buffer.from('kept') } }
    t.equal(await ask(kept, 'want-ref refs/heads/main', 'done'), `0010wanted-refs\n003d${a} refs/heads/main\n0001000dpackfile\nkept`)
  })

  t.test('as many as wants', async (t) => {
    const lines = Array.from({ length: 100_001 }, (_, i) => `want-ref refs/heads/${i}`)
    t.equal(
      await wireText(serve(pkts('command=fetch', '0001', lines, '0000'), fakeFetch({ refs }))),
      '0034ERR more than 100000 refs wanted in one request\n',
    )
  })
})

t.test('object-info', async (t) => {
  const info = (port: FetchPort, ...lines: readonly string[]) => wireText(serve(pkts('command=object-info', '0001', ...lines, '0000'), port))
  const port = fakeFetch({ oids: [a, b], mayWant: (oid) => oid !== b })

  t.test('tells sizes; what is not here and what is hidden look the same', async (t) => {
    t.equal(await info(port, 'size', `oid ${a}`, `oid ${b}\n`, `oid ${c}`), `0008size0032${a} 12345002d${b} 002d${c} 0000`)
    t.equal(port.released, 1)
  })

  t.test('without a question there is no answer', async (t) => {
    t.equal(await info(port, `oid ${a}`), `002c${a}0000`)
    t.equal(await info(port, 'size'), '0008size0000')
    t.equal(await wireText(serve(pkts('command=object-info', '0000'), port)), '0000')
  })

  t.test('100,000 objects at most, in slices', async (t) => {
    const oids = Array.from({ length: 100_001 }, () => `oid ${c}`)
    t.equal(await wireText(serve(pkts('command=object-info', '0001', oids, '0000'), port)), '0030ERR more than 100000 objects in one request\n')
    let turns = 0
    const slices = { pause: () => (turns++, Promise.resolve()) }
    await collect(serve(pkts('command=object-info', '0001', oids.slice(0, 1500), '0000'), port, { slices }))
    t.equal(turns, 3)
  })
})

t.test('sideband-all', async (t) => {
  t.test('every line is on a band, what ends a section is not', async (t) => {
    const port = fakeFetch({ refs, oids: [a, b], reaches: () => true, deepen: () => ({ shallow: [a], unshallow: [] }) })
    t.equal(
      await ask(port, 'sideband-all', `want ${a}`, `have ${b}`, 'deepen 1'),
      `0015\x01acknowledgments\n0032\x01ACK ${b}\n000b\x01ready\n00010012\x01shallow-info\n0035\x01shallow ${a}0001000e\x01packfile\n000d\x01PACKdata0000`,
    )
    t.equal(await ask(fakeFetch({ oids: [a] }), 'sideband-all', `want ${a}`, `have ${b}`), '0015\x01acknowledgments\n0009\x01NAK\n0000')
  })

  t.test('the client hears of us while the first line is thought about', async (t) => {
    const clock = handClock()
    const thinking = Promise.withResolvers<{ shallow: []; unshallow: [] }>()
    const port = { ...fakeFetch({ oids: [a] }), deepen: () => thinking.promise }
    const answer = serve(fetchOf('sideband-all', `want ${a}`, 'deepen 1', 'done'), port, clock)
    const first = answer.next()
    while (clock.sleepers === 0) await new Promise((resolve) => setImmediate(resolve))
    await clock.tick()
    t.same((await first).value, Buffer.from('0005\x02'))
    thinking.resolve({ shallow: [], unshallow: [] })
    t.equal(await wireText(answer), '0012\x01shallow-info\n0001000e\x01packfile\n000d\x01PACKdata0000')
    t.equal(clock.sleepers, 0)
  })

  t.test('refusals are on band 3', async (t) => {
    const port = fakeFetch({ refs, oids: [a] })
    t.equal(await ask(port, 'sideband-all', `want ${d}`, 'done'), `0047\x03upload-pack: not our ref ${d}\n`)
    t.equal(await ask(port, 'sideband-all', 'want-ref refs/heads/gone', 'done'), '0021\x03unknown ref refs/heads/gone\n')
    const failing = fakeFetch({
      oids: [a],
      answer: () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new ProtocolError('too-large', 'too much')) }) }),
    })
    t.equal(await ask(failing, 'sideband-all', `want ${a}`, 'done'), '000e\x03too much\n')
    t.equal(port.released, 2)
  })
})
