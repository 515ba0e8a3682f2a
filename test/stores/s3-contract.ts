import type tap from 'tap'
import { blobStoreContract, filePutContract, multipartContract, promoteContract } from '../contracts/blob-store.js'
import { openS3Store } from '../support/s3-store.js'
import type { S3Program } from '../support/tools/s3-server.js'
import { s3Behaviour } from './s3-behaviour.js'

/** What S3 asks of every part but the last. */
export const leastPartBytes = 5 * 2 ** 20

/** The contracts that every store keeps, and what is promised of S3 beside them, against a real server. */
export async function s3Contract(t: typeof tap, { name, found }: S3Program): Promise<void> {
  if (found.missing !== false) {
    t.test(name, { skip: found.missing }, async () => undefined)
    return
  }
  const server = await found.tool.start(t)
  const openStore = () => openS3Store(t, server)
  blobStoreContract(t, openStore)
  filePutContract(t, openStore)
  promoteContract(t, openStore)
  multipartContract(t, openStore, { leastPartBytes })
  s3Behaviour(t, server)
}
