import t from 'tap'
import { ProtocolError } from '../../protocol/errors.js'
import { receivePack } from '../../protocol/receive-pack.js'
import { uploadPack } from '../../protocol/upload-pack.js'
import { bodyOf, collect, fakeFetch, fakeReceive, forever, noSlices, oidOf, pkts, refOf, refTable } from '../support/wire.js'

const [a, b, c] = ['a', 'b', 'c'].map(oidOf) as [ReturnType<typeof oidOf>, ReturnType<typeof oidOf>, ReturnType<typeof oidOf>]

/** Requests as real clients send them: git 2.39 in v2 and v0, isomorphic-git, libgit2, and pushes. */
const seeds: readonly (readonly [service: 'fetch' | 'push', version: 0 | 2, body: Buffer])[] = [
  [
    'fetch',
    2,
    pkts(
      'command=ls-refs\n',
      'agent=git/2.39.5',
      'object-format=sha1',
      '0001',
      'peel\n',
      'symrefs\n',
      'unborn\n',
      'ref-prefix refs/heads/\n',
      'ref-prefix HEAD\n',
      '0000',
    ),
  ],
  [
    'fetch',
    2,
    pkts(
      'command=fetch',
      'agent=git/2.39.5',
      'object-format=sha1',
      '0001',
      'thin-pack',
      'include-tag',
      'ofs-delta',
      `want ${a}\n`,
      `want ${a}\n`,
      `have ${b}\n`,
      `have ${c}\n`,
      '0000',
    ),
  ],
  ['fetch', 2, pkts('command=fetch', '0001', 'wait-for-done', `have ${b}\n`, '0000')],
  [
    'fetch',
    0,
    pkts(
      `want ${a} multi_ack_detailed no-done side-band-64k thin-pack ofs-delta agent=git/2.39.5\n`,
      `want ${b}\n`,
      '0000',
      `have ${c}\n`,
      `have ${b}\n`,
      '0000',
    ),
  ],
  ['fetch', 0, pkts(`want ${a} multi_ack side-band ofs-delta \n`, '0000', `have ${b}\n`, 'done\n')],
  ['fetch', 2, pkts('command=fetch', '0001', 'ofs-delta', `want ${a}\n`, `shallow ${b}`, 'deepen-relative', 'deepen 3', `have ${b}`, 'done', '0000')],
  [
    'fetch',
    2,
    pkts(
      'command=fetch',
      '0001',
      `want ${a}\n`,
      'deepen-since 1600000000',
      'deepen-not refs/heads/main\n',
      'filter combine:tree%3A2+blob:limit=1k',
      'done',
      '0000',
    ),
  ],
  ['fetch', 0, pkts(`want ${a} deepen-relative side-band-64k\n`, `shallow ${b}\n`, 'deepen 2147483647', '0000', `have ${b}\n`, 'done\n')],
  ['fetch', 2, pkts('command=object-info', '0001', 'size', `oid ${a}\n`, `oid ${c}`, '0000')],
  ['fetch', 2, pkts('command=fetch', '0001', 'sideband-all\n', 'want-ref refs/heads/main\n', 'deepen 1', `have ${b}`, '0000')],
  [
    'push',
    0,
    Buffer.concat([
      pkts(
        `${a} ${b} refs/heads/main\0 report-status side-band-64k atomic push-options agent=git/2.39.5`,
        `${c} ${oidOf('0')} refs/heads/old`,
        '0000',
        'ci.skip',
        '0000',
      ),
      Buffer.from('PACKdata'),
    ]),
  ],
]

t.test('mutated requests end, and throw nothing but protocol errors', async (t) => {
  let seed = 20_240_601
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return Math.floor((seed / 0x80000000) * below)
  }
  const tokens = ['0000', '0001', '0002', '0003', '0004', 'fff0', 'ffff', '\n', '\0', ' ', 'want ', 'have ', 'done', 'deepen 1', a]
  const mutate = (bytes: Buffer): Buffer => {
    const at = random(bytes.length + 1)
    switch (random(5)) {
      case 0: {
        const copy = Buffer.from(bytes)
        copy[Math.min(at, copy.length - 1)] = random(256)
        return copy
      }
      case 1:
        return bytes.subarray(0, at)
      case 2:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(60))])
      case 3:
        return Buffer.concat([bytes.subarray(0, at), Buffer.from(tokens[random(tokens.length)]!, 'latin1'), bytes.subarray(at)])
      default:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(bytes.length))])
    }
  }
  const refs = refTable([refOf('refs/heads/main', a)])
  const clock = { slices: noSlices, sleep: forever, keepaliveMs: 5000, signal: new AbortController().signal }
  const outcomes = { answered: 0, refused: 0 }
  for (let i = 0; i < 6000; i++) {
    const [service, version, original] = seeds[i % seeds.length]!
    let bytes: Buffer = original
    for (let times = 1 + random(3); times > 0; times--) bytes = mutate(bytes)
    const cut = random(bytes.length + 1)
    const body = bodyOf(bytes.subarray(0, cut), bytes.subarray(cut))
    const port = fakeFetch({ refs, oids: [a, b], reaches: (haves) => haves.length > 0 })
    const answer =
      service === 'push' ? receivePack({ body, port: fakeReceive(), ...clock }) : uploadPack({ version, body, open: async () => port, ...clock })
    try {
      const bytes = await collect(answer)
      if (bytes.length === 0) t.fail(`an empty answer to ${JSON.stringify(bytes.toString('latin1'))}`)
      outcomes.answered++
    } catch (error) {
      outcomes.refused++
      if (!(error instanceof ProtocolError)) t.fail(String(error), { request: bytes.toString('latin1') })
    }
  }
  t.equal(outcomes.answered + outcomes.refused, 6000)
  t.ok(outcomes.answered > 500 && outcomes.refused > 500, JSON.stringify(outcomes))
})
