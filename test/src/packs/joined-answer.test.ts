import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'

import { findJoinedAnswer, readJoinedPacks } from '../../../src/packs/joined-answer.js'
import { packKey } from '../../../src/storage/keys.js'
import { collecting, pushed, pushMany } from '../../support/collections.js'
import { cloneRequest, move, never, openDomain, slices } from '../../support/domain.js'

t.test('two packs are joined only when both are what they are called, and a client notices what changes later', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last: before } = await pushMany(domain, 'joined', 5, t.testdir())
  const last = await work.commit({ noise: randomBytes(200_000) }) // too much for a pack in the database
  await pushed(domain, repo, { commands: [move('refs/heads/main', before, last)], pack: await work.pack(last, `^${before}`) })
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })).outcome, 'collected')
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const pair = findJoinedAnswer(view, cloneRequest([last]))!
  const read = async (): Promise<Buffer> => {
    const chunks: Buffer[] = []
    for await (const chunk of readJoinedPacks(view, pair, { slices: slices() })) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  }
  const path = join(domain.blobDirectory, packKey(view.packs[pair.blobs]!.sha256))
  const whole = await readFile(path)
  const spoilt = Buffer.from(whole)
  spoilt[40]! ^= 1
  const endsWell = (pack: Buffer): boolean => createHash('sha1').update(pack.subarray(0, -20)).digest().equals(pack.subarray(-20))

  await writeFile(path, spoilt)
  await t.rejects(read(), { code: 'corrupt', message: /is not what its name says/ })
  await writeFile(path, whole)
  const first = await read()
  t.equal(first.readUInt32BE(8), 23)
  t.ok(endsWell(first))
  t.ok((await read()).equals(first), 'the end that is remembered is the right one')
  await writeFile(path, spoilt)
  const later = await read()
  t.equal(later.length, first.length)
  t.notOk(endsWell(later), 'nobody takes it for whole')
  await writeFile(path, whole)
})
