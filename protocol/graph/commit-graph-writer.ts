import { encodeChunkFile, oidChunks, type Chunk } from '../pack/chunk-file.js'
import { commitBytes, commitGraphKind, highBit, noParent } from './commit-graph.js'
import type { CommitRows } from './commit-rows.js'
import { generationsOf, type Generations } from './generations.js'

/** What CDAT keeps of a time. */
const maxSeconds = 2 ** 34

/**
 * The commit graph of all these commits, which have all their parents among them. To the byte what `git commit-graph write` makes of them,
 * times after the year 2514 aside. Works in 20 bytes a commit, beside the file.
 * @throws ProtocolError `too-large`
 */
export function encodeCommitGraph(rows: CommitRows): Buffer {
  const { count, oids } = rows
  const generations = generationsOf(rows)
  const edges = edgesOf(rows)
  return encodeChunkFile(commitGraphKind, Buffer.alloc(0), [
    ...oidChunks(count, (file, at) => file.set(oids, at)),
    { id: 'CDAT', bytes: count * commitBytes, write: (file, at) => writeCommits(file, at, rows, generations) },
    ...dateChunks(rows, generations),
    ...(edges > 0 ? [{ id: 'EDGE', bytes: edges * 4, write: (file: Buffer, at: number) => writeEdges(file, at, rows) }] : []),
  ])
}

/** Parents beside the first of commits with more than two. */
function edgesOf({ count, firstParents }: CommitRows): number {
  let edges = 0
  for (let row = 0; row < count; row++) {
    const parents = firstParents[row + 1]! - firstParents[row]!
    if (parents > 2) edges += parents - 1
  }
  return edges
}

function writeCommits(file: Buffer, at: number, rows: CommitRows, { levels }: Generations): void {
  const { count, trees, seconds, parents, firstParents } = rows
  let edge = 0
  for (let row = 0, to = at; row < count; row++, to += commitBytes) {
    for (let byte = 0; byte < 20; byte++) file[to + byte] = trees[row * 20 + byte]!
    const first = firstParents[row]!
    const number = firstParents[row + 1]! - first
    file.writeUInt32BE(number > 0 ? parents[first]! : noParent, to + 20)
    file.writeUInt32BE(number > 2 ? highBit + edge : number === 2 ? parents[first + 1]! : noParent, to + 24)
    if (number > 2) edge += number - 1
    const time = seconds[row]! % maxSeconds
    file.writeUInt32BE(levels[row]! * 4 + Math.floor(time / 2 ** 32), to + 28)
    file.writeUInt32BE(time % 2 ** 32, to + 32)
  }
}

/** GDA2, and GDO2 where a commit's time is too far from its corrected date. */
function dateChunks({ count, seconds }: CommitRows, { dates }: Generations): Chunk[] {
  const offsetOf = (row: number): number => dates[row]! - (seconds[row]! % maxSeconds)
  let far = 0
  for (let row = 0; row < count; row++) if (offsetOf(row) >= highBit) far += 1
  const near: Chunk = {
    id: 'GDA2',
    bytes: count * 4,
    write(file, at) {
      let next = 0
      for (let row = 0; row < count; row++) file.writeUInt32BE(offsetOf(row) >= highBit ? highBit + next++ : offsetOf(row), at + row * 4)
    },
  }
  const overflow: Chunk = {
    id: 'GDO2',
    bytes: far * 8,
    write(file, at) {
      let next = at
      for (let row = 0; row < count; row++) if (offsetOf(row) >= highBit) next = file.writeBigUInt64BE(BigInt(offsetOf(row)), next)
    },
  }
  return far > 0 ? [near, overflow] : [near]
}

function writeEdges(file: Buffer, at: number, { count, parents, firstParents }: CommitRows): void {
  let next = at
  for (let row = 0; row < count; row++) {
    const end = firstParents[row + 1]!
    if (end - firstParents[row]! <= 2) continue
    for (let i = firstParents[row]! + 1; i < end; i++) next = file.writeUInt32BE(parents[i]! + (i + 1 === end ? highBit : 0), next)
  }
}
