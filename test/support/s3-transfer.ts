/**
 * One transfer of 512 MiB, in a process of its own so that its memory can be seen: prints by how many bytes that grew at most.
 *
 *   s3-transfer.js put-known | put-unknown | put-file | get    with the account as JSON in CAIRN_TEST_S3
 */
import { createHash } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stagingKey } from '../../src/storage/keys.js'
import { createS3BlobStore } from '../../src/storage/s3-blob-store.js'
import type { S3Account } from '../../src/storage/s3-signer.js'

const bytes = 512 * 2 ** 20
const chunkBytes = 256 * 1024
const key = stagingKey('transfer')

async function* source(length = bytes): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(chunkBytes)
  for (let at = 0; at < length; at += chunkBytes) {
    chunk.writeUInt32LE(at)
    yield chunk
  }
}

const store = createS3BlobStore(JSON.parse(process.env['CAIRN_TEST_S3']!) as S3Account)
const transfers: Readonly<Record<string, () => Promise<unknown>>> = {
  'put-known': () => store.put(key, source(), { bytes }),
  'put-unknown': () => store.put(key, source()),
  async 'put-file'() {
    const path = join(tmpdir(), `cairn-transfer-${process.pid}`)
    try {
      await writeFile(path, source())
      const hash = createHash('sha256')
      for await (const chunk of source()) hash.update(chunk)
      await store.putFile(key, path, hash.digest())
    } finally {
      await rm(path, { force: true })
    }
  },
  async get() {
    let read = 0
    for await (const chunk of await store.open(key)) read += chunk.length
    if (read !== bytes) throw new Error(`${read} bytes came`)
  },
}

await store.put(stagingKey('warm'), source(chunkBytes * 4), { bytes: chunkBytes * 4 })
for await (const chunk of await store.open(stagingKey('warm'))) void chunk
const before = process.memoryUsage.rss()
let peak = before
const timer = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss())
}, 5)
const started = performance.now()
await transfers[process.argv[2]!]!()
clearInterval(timer)
const seconds = (performance.now() - started) / 1000
await store.close()
console.log(JSON.stringify({ grewBytes: Math.max(peak, process.memoryUsage.rss()) - before, seconds }))
