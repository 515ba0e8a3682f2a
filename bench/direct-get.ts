import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { lfsKey } from '../src/storage/keys.js'
import { createS3BlobStore } from '../src/storage/s3-blob-store.js'
import { startReplicas } from '../test/support/replicas.js'
import { askForLarge, getNowhere, makeLargeFile, putFile } from './large-file.js'
import { atLeast, type Bench, type Row } from './stage.js'
import { pairText, timed } from './timing.js'

const rounds = 3

/** A large file from the store by the address that the hub gives, asking for it included, against the same bytes by one that was there before. */
export async function* directGet({ folder }: Bench): AsyncGenerator<Row> {
  const closers: (() => unknown)[] = []
  const file = join(folder, 'direct.bin')
  try {
    const hubs = await startReplicas({ teardown: (work) => void closers.push(work) }, { count: 1, env: { CAIRN_TRANSFER: 'direct' } })
    await hubs.api('POST', '/api/cairn/repos', { id: 'admin/direct', empty: true })
    const object = await makeLargeFile(file)
    // MinIO copies what nobody signed for, so uploads come through the hub.
    await putFile(file, await askForLarge(hubs, 'admin/direct', 'upload', object))
    const store = createS3BlobStore(hubs.s3.account(hubs.bucket))
    closers.push(() => store.close())
    const known = store.signedUrl(lfsKey(Buffer.from(object.oid, 'hex')), 'get', { expiresSeconds: 600 }).href
    const ours: number[] = []
    const theirs: number[] = []
    await getNowhere(known)
    for (let round = 0; round < rounds; round++) {
      theirs.push((await timed(() => getNowhere(known))).seconds)
      ours.push((await timed(async () => getNowhere(await askForLarge(hubs, 'admin/direct', 'download', object)))).seconds)
    }
    yield atLeast('1 GiB GET in direct mode, against the same MinIO', Math.min(...theirs) / Math.min(...ours), 0.95, pairText(ours, theirs))
  } finally {
    await rm(file, { force: true })
    for (const close of closers.toReversed()) await close()
  }
}
