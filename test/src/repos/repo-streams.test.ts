import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { RepoStreams } from '../../../src/repos/repo-streams.js'

const repo = (id: number, purgeEpoch: number) => ({ id, versions: { purgeEpoch } })

t.test('a purge cuts the streams of its repository that were begun before it, once', async (t) => {
  const streams = new RepoStreams()
  const cut: string[] = []
  streams.begin(repo(1, 1), () => cut.push('before'))
  streams.begin(repo(1, 2), () => cut.push('after'))
  streams.begin(repo(2, 1), () => cut.push('another'))
  streams.begin(repo(1, 1), () => cut.push('ended')).end()
  t.same(
    [...streams.known()],
    [
      [1, 1],
      [1, 2],
      [2, 1],
    ],
  )
  t.equal(streams.cutBefore(1, 2), 1)
  t.equal(streams.cutBefore(1, 2), 0)
  t.same(cut, ['before'])
})

t.test('one that begins with what was known before is cut at once', async (t) => {
  const streams = new RepoStreams()
  streams.cutBefore(1, 5)
  streams.cutBefore(1, 3)
  const cut: number[] = []
  for (const epoch of [4, 5]) streams.begin(repo(1, epoch), () => cut.push(epoch))
  t.same(cut, [4])
  t.same([...streams.known()], [[1, 5]])
})

t.test('every so many bytes it is asked whether something was purged, and what is found out is told', async (t) => {
  let now = 1
  let asked = 0
  const findPurgeEpoch = async () => {
    asked++
    return now
  }
  const told: number[][] = []
  const streams = new RepoStreams({ findPurgeEpoch, checkBytes: 100, onPurged: (...purge) => void told.push(purge) })
  const stream = streams.begin(repo(7, 1), () => undefined)
  stream.passed(99)
  t.equal(asked, 0)
  stream.passed(1)
  stream.passed(500)
  t.equal(asked, 1, 'one question at a time')
  await nextTurn()
  now = 2
  stream.passed(1)
  await nextTurn()
  t.same([asked, told], [2, [[7, 2]]])
})

t.test('a database that is away cuts nothing, and is asked again', async (t) => {
  let isAway = true
  const findPurgeEpoch = async () => {
    if (isAway) throw new Error('away')
    return 2
  }
  let cuts = 0
  const stream = new RepoStreams({ findPurgeEpoch, checkBytes: 100 }).begin(repo(7, 1), () => void cuts++)
  stream.passed(100)
  await nextTurn()
  t.equal(cuts, 0)
  isAway = false
  stream.passed(99)
  await nextTurn()
  t.equal(cuts, 0)
  stream.passed(1)
  await nextTurn()
  t.equal(cuts, 1)
})
