import { createS3BlobStore, type S3BlobStore, type S3BlobStoreOptions } from '../../src/storage/s3-blob-store.js'
import type { OpenedStore } from '../contracts/blob-store.js'
import type { S3Server } from './tools/s3-server.js'

interface Teardown {
  teardown(work: () => unknown): void
}

export interface OpenedS3Store extends OpenedStore<S3BlobStore> {
  readonly bucket: string
}

/** A store over a new bucket, closed when the test ends. */
export async function openS3Store(t: Teardown, server: S3Server, options: Partial<S3BlobStoreOptions> = {}): Promise<OpenedS3Store> {
  const bucket = await server.makeBucket()
  const store = createS3BlobStore({ ...server.account(bucket), ...options })
  t.teardown(() => store.close())
  return { store, bucket, contents: () => server.contents(bucket) }
}
