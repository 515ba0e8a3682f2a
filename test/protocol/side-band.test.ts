import t from 'tap'
import { ProgressLines } from '../../protocol/progress.js'
import { bandPkts, bands, BandWriter, fatalPkt, keepalivePkt, messagePkt } from '../../protocol/side-band.js'

t.test('frames bytes on a band', async (t) => {
  t.equal(bandPkts(bands.progress, Buffer.from('hi\n')).toString(), '0008\x02hi\n')
  t.equal(bandPkts(bands.data, Buffer.alloc(0)).length, 0)
  t.equal(keepalivePkt.toString(), '0005\x01')
  t.equal(messagePkt('\x1b[2Jno').toString(), '000b\x02[2Jno\n')
  t.equal(fatalPkt('out of luck').toString(), '0011\x03out of luck\n')
  t.equal(fatalPkt('é'.repeat(2000)).length, 905, 'fits the small side-band')
})

t.test('a packet holds 65,515 bytes of data, or 995 on the small side-band', async (t) => {
  const large = bandPkts(bands.data, Buffer.alloc(65_516, 'x'))
  t.equal(large.length, 65_516 + 10)
  t.equal(large.toString('latin1', 0, 6), 'fff0\x01x')
  t.equal(large.toString('latin1', 65_520), '0006\x01x')
  const small = bandPkts(bands.data, Buffer.alloc(996, 'x'), 1000)
  t.equal(small.toString('latin1', 0, 6), '03e8\x01x')
  t.equal(small.toString('latin1', 1000), '0006\x01x')
})

t.test('a stream is cut into full packets, whatever its chunks were', async (t) => {
  const stream = Buffer.alloc(900_000, 'The quick brown fox. ')
  for (const maxBytes of [65_520, 1000] as const) {
    for (const step of [1, 7, 995, 65_515, 65_516, 900_000]) {
      if (step === 1 && maxBytes === 1000) continue // the same again, slowly
      const writer = new BandWriter(maxBytes)
      const wire: Buffer[] = []
      for (let from = 0; from < stream.length; from += step) {
        for (const chunk of writer.write(stream.subarray(from, from + step))) wire.push(Buffer.from(chunk))
      }
      wire.push(writer.flush() ?? Buffer.alloc(0))
      t.equal(writer.flush(), undefined)
      t.ok(Buffer.concat(wire).equals(bandPkts(bands.data, stream, maxBytes)), `${step} bytes at a time, packets of ${maxBytes}`)
    }
  }
})

t.test('long answers get larger buffers', async (t) => {
  const writer = new BandWriter(65_520)
  const handed = Array.from('abcdefghijkl').flatMap((letter) =>
    Array.from(writer.write(Buffer.alloc(65_515, letter)), (chunk) => `${chunk.length} from ${chunk.toString('latin1', 5, 6)}`),
  )
  t.same(handed, ['65520 from a', '65520 from b', '327600 from c', '327600 from h'])
})

t.test('progress reads as git writes it', async (t) => {
  const lines = new ProgressLines()
  let woken = 0
  lines.wake = () => woken++
  t.equal(lines.take(65_520), undefined)
  lines.report({ title: 'Counting objects', done: 42, total: 100 })
  t.equal(lines.take(65_520)?.toString(), '0025\x02Counting objects:  42% (42/100)\r')
  lines.report({ title: 'Counting objects', done: 42, total: 100 })
  t.equal(lines.take(65_520), undefined, 'no change, no line')
  lines.report({ title: 'Counting objects', done: 43, total: 100 })
  lines.report({ title: 'Counting objects', done: 44, total: 100 })
  t.equal(lines.take(65_520)?.toString(), '0025\x02Counting objects:  44% (44/100)\r', 'only the latest is kept')
  lines.report({ title: 'Counting objects', done: 100, total: 100 })
  lines.report({ title: 'Counting objects', done: 100, total: 100 })
  t.equal(lines.take(65_520)?.toString(), '002d\x02Counting objects: 100% (100/100), done.\n')
  t.equal(lines.take(65_520), undefined, 'done once')
  t.equal(woken, 4)
})

t.test('progress without a total counts, in steps of a tenth', async (t) => {
  const lines = new ProgressLines()
  const seen: string[] = []
  for (let done = 1; done <= 250; done++) {
    lines.report({ title: 'Enumerating objects', done, total: 0 })
    const said = lines.take(65_520)
    if (said) seen.push(said.toString('latin1', 5))
  }
  t.same(
    seen,
    [100, 111, 123, 136, 150, 165, 182, 201, 222, 245].map((count) => `Enumerating objects: ${count}\r`),
  )
  lines.report({ title: 'Compressing objects', done: 0, total: 7 })
  t.equal(
    lines.take(65_520)?.toString('latin1', 5),
    'Enumerating objects: 250, done.\nCompressing objects:   0% (0/7)\r',
    'the next title ends the last',
  )
  lines.finish()
  lines.finish()
  t.equal(lines.take(65_520)?.toString('latin1', 5), 'Compressing objects:   0% (0/7), done.\n')
})
