import t from 'tap'
import { bytesText, startProgress, timeText } from '../../../src/move/progress.js'

t.test('sizes and times are said as people say them', async (t) => {
  t.same(
    [0, 1, 1023, 1024, 1536, 5 * 2 ** 30, 3 * 2 ** 50].map((bytes) => bytesText(bytes)),
    ['0 bytes', '1 bytes', '1023 bytes', '1.0 KiB', '1.5 KiB', '5.0 GiB', '3072.0 TiB'],
  )
  t.same(
    [0.2, 89, 90, 5_399, 5_400, 90_000].map((seconds) => timeText(seconds)),
    ['1 s', '89 s', '2 min', '90 min', '1.5 h', '25.0 h'],
  )
})

t.test('a line says how far it is, how fast it goes and how long it will take', async (t) => {
  const lines: string[] = []
  const progress = startProgress({ blobs: 1_200, bytes: 4 * 2 ** 20, say: (line) => void lines.push(line), everyMs: 60_000 })
  progress.done(1_000, 2 ** 20)
  progress.end()
  t.same(lines, ['1,000 of 1,200 objects, 1.0 MiB of 4.0 MiB'])
  const going = startProgress({ blobs: 1_200, bytes: 4 * 2 ** 20, say: (line) => void lines.push(line), everyMs: 60_000 })
  going.went(2 ** 20)
  going.done(1, 2 ** 20)
  going.end()
  t.match(lines[1], /^1 of 1,200 objects, 1\.0 MiB of 4\.0 MiB, [\d.]+ [KMGT]iB\/s, 1 s left$/)
})
