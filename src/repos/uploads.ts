import { uploadFiles, type UploadDependencies, type UploadOutcome, type UploadRequest } from './upload-files.js'
import { createUploadSpool, type SpooledFile, type UploadSpoolOptions } from './upload-spool.js'

/** Commits from files that somebody sends one after the other. */
export interface Uploads {
  /** Takes in one file. Whoever asked disposes of it. @throws HubError `too-large`, `storage-full` */
  receive(chunks: AsyncIterable<Uint8Array>): Promise<SpooledFile>
  /** As `uploadFiles`. */
  commit(request: UploadRequest): Promise<UploadOutcome>
}

export interface UploadsOptions extends UploadDependencies {
  readonly spool: UploadSpoolOptions
}

export function createUploads(options: UploadsOptions): Uploads {
  const spool = createUploadSpool(options.spool)
  return { receive: (chunks) => spool.receive(chunks), commit: (request) => uploadFiles(options, request) }
}
