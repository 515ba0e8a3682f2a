import type { FastifyRequest } from 'fastify'
import { HubError } from '../errors.js'
import type { UploadedFile } from '../repos/upload-files.js'
import type { Uploads } from '../repos/uploads.js'

/** Of one form. */
export const uploadLimits = {
  files: 100,
  fields: 20,
  /** Bytes of one field. */
  fieldSize: 64 * 1024,
  headerPairs: 20,
} as const

/** A browser that sends nothing for this long is given up. */
const defaultStallMs = 120_000

export interface UploadBody {
  readonly fields: ReadonlyMap<string, string>
  readonly files: readonly UploadedFile[]
  /** Removes the files. Never throws. */
  readonly dispose: () => Promise<void>
}

export interface ReadUploadOptions {
  readonly receive: Uploads['receive']
  /** Asked before the first file is taken in. */
  readonly checkFields: (fields: ReadonlyMap<string, string>) => Promise<void>
  readonly stallMs?: number
}

/**
 * Reads the form as it arrives, files to the disk. When it comes back all of it was there; on an error nothing is left.
 * @throws HubError `unsupported-media`, `bad-request`, `too-large`; what `checkFields` throws
 */
export async function readUploadBody(
  request: FastifyRequest,
  { receive, checkFields, stallMs = defaultStallMs }: ReadUploadOptions,
): Promise<UploadBody> {
  if (!request.isMultipart()) throw new HubError('unsupported-media', 'the form must be sent as multipart/form-data')
  const fields = new Map<string, string>()
  const files: UploadedFile[] = []
  const dispose = async (): Promise<void> => {
    for (const { content } of files.splice(0)) await content.dispose()
  }
  const { raw } = request
  raw.setTimeout(stallMs, () => raw.destroy())
  let areChecked = false
  const checkOnce = async (): Promise<void> => {
    if (areChecked) return
    areChecked = true
    await checkFields(fields)
  }
  try {
    const limits = { ...uploadLimits, parts: uploadLimits.files + uploadLimits.fields, fileSize: Number.POSITIVE_INFINITY }
    for await (const part of request.parts({ limits, preservePath: true })) {
      if (part.type === 'field') {
        if (part.valueTruncated) throw new HubError('too-large', `the field '${part.fieldname.slice(0, 50)}' is too long`)
        if (fields.has(part.fieldname)) throw new HubError('bad-request', `the field '${part.fieldname.slice(0, 50)}' is there twice`)
        if (typeof part.value !== 'string') throw new HubError('bad-request', `the field '${part.fieldname.slice(0, 50)}' is not plain text`)
        fields.set(part.fieldname, part.value)
        continue
      }
      await checkOnce()
      const content = await receive(part.file as AsyncIterable<Uint8Array>)
      const name = decodeName(part.filename ?? '')
      // What a browser sends where nothing was picked.
      if (name === '' && content.size === 0) await content.dispose()
      else files.push({ name, content })
    }
    await checkOnce()
    return { fields, files, dispose }
  } catch (error) {
    await dispose()
    // Whoever reads on drops what still comes, and the parser must not hold it back.
    raw.unpipe()
    throw isParserError(error) ? new HubError('bad-request', 'the form is not whole, or not multipart/form-data', { cause: error }) : error
  } finally {
    raw.setTimeout(0)
  }
}

/** Browsers write these three so, and a percent sign as it is. Spec: HTML, "multipart/form-data encoding algorithm". */
const decodeName = (name: string): string => name.replace(/%22/g, '"').replace(/%0D/g, '\r').replace(/%0A/g, '\n')

/** The parser's errors have nothing but their words. */
const isParserError = (error: unknown): boolean =>
  error instanceof Error &&
  error.constructor === Error &&
  !('code' in error) &&
  /multipart|terminated early|boundary|malformed|needle/i.test(error.message)
