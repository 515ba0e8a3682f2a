import type { LargeFiles } from '../../large-files/large-files.js'
import type { Instruments } from './instruments.js'
import { failureOutcome } from './work-metrics.js'

const uploadOutcomes = ['stored', 'refused', 'left', 'failed'] as const

/** The same large files, with their bytes counted as they pass and uploads by how they end. */
export function watchLargeFiles<Service extends LargeFiles>({ counter, gauge, total }: Instruments, largeFiles: Service): Service {
  const countUpload = counter('large_file_uploads_total', 'Large files that were sent to the hub, by what became of them', {
    outcome: uploadOutcomes,
  })
  let uploads = 0
  let receivedBytes = 0
  let sentBytes = 0
  gauge('large_file_uploads_in_flight', 'Large files that are arriving', () => uploads)
  total('large_file_received_bytes_total', 'Bytes of large files that arrived, kept or not', () => receivedBytes)
  total('large_file_sent_bytes_total', 'Bytes of large files that were read to be sent', () => sentBytes)
  return {
    ...largeFiles,

    async receive(upload, bytes) {
      uploads += 1
      try {
        await largeFiles.receive(
          upload,
          counted(bytes, (count) => {
            receivedBytes += count
          }),
        )
      } catch (error) {
        countUpload({ outcome: failureOutcome(error, upload.signal) })
        throw error
      } finally {
        uploads -= 1
      }
      countUpload({ outcome: 'stored' })
    },

    async open(oid, options) {
      return counted(await largeFiles.open(oid, options), (count) => {
        sentBytes += count
      })
    },
  }
}

/** The same bytes. No generator: a large file has many chunks. */
function counted(bytes: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const chunks: AsyncIterator<Uint8Array> = bytes[Symbol.asyncIterator]()
      return {
        async next() {
          const next = await chunks.next()
          if (!next.done) count(next.value.length)
          return next
        },
        return: async () => (await chunks.return?.()) ?? { done: true, value: undefined },
      }
    },
  }
}
