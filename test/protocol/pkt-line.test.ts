import t from 'tap'
import { humanLine } from '../../protocol/human-text.js'
import { dataPkt, delimPkt, errPkt, flushPkt, gather, gatherLong, pktText, readPkts, textPkt, type PktReader } from '../../protocol/pkt-line.js'
import { bodyOf, byteByByte, collect } from '../support/wire.js'

/** Every pkt-line up to the end, as text; flush, delim and end by name. */
async function readAll(reader: PktReader): Promise<string[]> {
  const seen: string[] = []
  for (;;) {
    const pkt = await reader.next()
    if (pkt === undefined) return seen
    seen.push(pkt.kind === 'data' ? pkt.payload.toString('latin1') : `<${pkt.kind}>`)
  }
}

const request = Buffer.from('0014command=ls-refs\n00010009peel\n000bsymrefs00040000', 'latin1')
const lines = ['command=ls-refs\n', '<delim>', 'peel\n', 'symrefs', '', '<flush>']

t.test('writes pkt-lines with their length in front', async (t) => {
  t.equal(dataPkt('a\n').toString(), '0006a\n')
  t.equal(dataPkt('refs/heads/\xe9').toString('latin1'), '0010refs/heads/\xe9', 'one byte a character')
  t.same(dataPkt(Uint8Array.of(1, 0, 255)), Buffer.from('303030370100ff', 'hex'))
  t.equal(Buffer.concat([flushPkt, delimPkt]).toString(), '00000001')
  const longest = dataPkt(Buffer.alloc(65_516))
  t.equal(longest.length, 65_520)
  t.equal(longest.toString('latin1', 0, 4), 'fff0')
  t.equal(textPkt('refs/heads/\xe9'), '0010refs/heads/\xe9')
  t.throws(() => dataPkt(Buffer.alloc(65_517)), { code: 'too-large', message: 'pkt-line payload of 65517 bytes is over 65516' })
})

t.test('reads pkt-lines however the bytes are cut', async (t) => {
  t.same(await readAll(readPkts(bodyOf(request))), lines, 'in one piece')
  t.same(await readAll(readPkts(byteByByte(request))), lines, 'a byte at a time')
  for (let cut = 1; cut < request.length; cut++) {
    t.same(await readAll(readPkts(bodyOf(request.subarray(0, cut), '', request.subarray(cut)))), lines, `cut at ${cut}`)
  }
})

t.test('an end within a line is an error, an end between two lines is an end', async (t) => {
  const ends = new Set([0, 20, 24, 33, 44, 48, 52])
  for (let length = 0; length <= request.length; length++) {
    const reader = readPkts(bodyOf(request.subarray(0, length)))
    if (ends.has(length)) {
      t.resolves(readAll(reader), `${length} bytes`)
      continue
    }
    await t.rejects(readAll(reader), { name: 'ProtocolError', code: 'bad-request', message: /^the request ends within / }, `${length} bytes`)
    t.ok(reader.broken)
  }
})

t.test('accepts lengths in either case and refuses what is no length', async (t) => {
  const ten = 'x'.repeat(6)
  t.same(await readAll(readPkts(bodyOf(`000a${ten}000A${ten}`))), [ten, ten])
  t.same(await readAll(readPkts(bodyOf('0002'))), ['<end>'])
  for (const bad of ['0003', 'fff1', 'ffff', '-001', '0x10', ' 010', 'PACK', '00g0', '/000', ':000', '`000', '@000']) {
    await t.rejects(readAll(readPkts(bodyOf(`${bad}....`))), { code: 'bad-request', message: `bad pkt-line length ${JSON.stringify(bad)}` }, bad)
  }
  const longest = Buffer.concat([Buffer.from('fff0'), Buffer.alloc(65_516, 'y')])
  t.same(await readAll(readPkts(byteByByte(longest))), ['y'.repeat(65_516)])
})

t.test('reads so many bytes and no more', async (t) => {
  t.same(await readAll(readPkts(bodyOf('0008abcd0000'), { maxBytes: 12 })), ['abcd', '<flush>'])
  const reader = readPkts(bodyOf('0008abcd0000'), { maxBytes: 11 })
  await reader.next()
  await t.rejects(reader.next(), { code: 'too-large', message: 'the request is over 11 bytes' })
})

t.test('hands over the bytes behind the last line, and leaves the source open', async (t) => {
  let closed = false
  async function* source() {
    try {
      yield Buffer.from('0005a0000PA')
      yield Buffer.from('CK')
      yield Buffer.from('data')
    } finally {
      closed = true
    }
  }
  const reader = readPkts(source())
  await reader.next()
  await reader.next()
  t.equal(await reader.hasMore(), true)
  for await (const chunk of reader.rest()) {
    t.equal(Buffer.from(chunk).toString(), 'PA')
    break
  }
  t.equal(closed, false, 'a request cut here would cut the answer too')
  t.equal(reader.ended, false)
  t.equal((await collect(reader.rest())).toString(), 'CKdata')
  t.equal(await reader.hasMore(), false)
  t.equal(reader.ended, true)
})

t.test('drains up to a limit', async (t) => {
  const reader = readPkts(bodyOf('aaaa', 'bbbb', 'cccc'))
  await reader.drain(5)
  t.equal((await collect(reader.rest())).toString(), 'cccc')
  await reader.drain(5)
  t.equal(reader.ended, true)
})

t.test('takes one LF off a line, whatever it is', async (t) => {
  t.equal(pktText(Buffer.from('done')), 'done')
  t.equal(pktText(Buffer.from('done\n')), 'done')
  t.equal(pktText(Buffer.from('done\n\n')), 'done\n')
  t.equal(pktText(Buffer.from([0xe9, 0x0a])), '\xe9')
})

t.test('joins small pkt-lines into large chunks', async (t) => {
  const sizes = [...gather([Buffer.alloc(4), Buffer.alloc(4), Buffer.alloc(4), Buffer.alloc(4), Buffer.alloc(1)], 8)].map((chunk) => chunk.length)
  t.same(sizes, [8, 8, 1])
  t.same([...gather([])], [])
})

t.test('joins what is long in memory that is used again, and cuts nothing', async (t) => {
  const parts = ['ab', 'cd', 'ef', 'g', 'hijklm', 'n'].map((text) => Buffer.from(text))
  const chunks = [...gatherLong(parts, 4)]
  t.same(
    chunks.map((chunk) => chunk.length),
    [4, 3, 6, 1],
  )
  t.equal(chunks[0]!.buffer, chunks[1]!.buffer)
  t.same(await collect(gatherLong(parts, 4)), Buffer.from('abcdefghijklmn'))
  t.same(await collect(gatherLong(parts, 100)), Buffer.from('abcdefghijklmn'))
  t.same([...gatherLong([])], [])
})

t.test('messages for people are one line, without control characters, and not endless', async (t) => {
  t.equal(errPkt('no\nsuch \x1b[31mthing').toString(), '001bERR no such  [31mthing\n')
  t.equal(errPkt('größer').toString(), '0011ERR größer\n')
  t.equal(humanLine(' a\r\n\x00b\x7f\x9b\u2028c '), 'a b c')
  t.equal(humanLine('x'.repeat(2000)), `${'x'.repeat(1000)}…`)
})
