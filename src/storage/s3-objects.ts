import { HubError } from '../errors.js'
import type { BlobInfo, BlobKey, BlobStore, ByteRange } from './blob-store.js'
import { checkRange } from './check-range.js'
import { failureOf } from './s3-errors.js'
import type { S3Transport } from './s3-transport.js'
import { isBlobKey } from './keys.js'
import { parseObjectList } from './s3-xml.js'

/** What a look at an object tells. */
export interface S3Object extends BlobInfo {
  /** As the store writes it, in quotes. */
  readonly etag: string
}

export interface S3Objects extends Pick<BlobStore, 'open' | 'delete' | 'list'> {
  find(key: BlobKey): Promise<S3Object | undefined>
  /** @throws HubError `corrupt` when it is not there */
  get(key: BlobKey): Promise<BlobInfo>
}

/** A read that breaks off goes on where it was, this often without one more byte. */
const maxResumes = 4
/** What a key is made of: stores refuse to list some other beginnings. */
const prefixShape = /^(?!.*(?:\.\.|\/\/))[a-z0-9][a-z0-9./-]*$/

/** Everything that reads, and delete. */
export function createS3Objects(transport: S3Transport): S3Objects {
  const find = async (key: BlobKey): Promise<S3Object | undefined> => {
    const { status, headers } = await transport.send({ method: 'HEAD', key, expect: [404] })
    if (status === 404) return undefined
    return {
      key,
      bytes: Number(headers['content-length']),
      modifiedAt: new Date(String(headers['last-modified'])),
      etag: String(headers['etag']),
    }
  }

  return {
    find,

    async get(key) {
      const found = await find(key)
      if (!found) throw notThere(key)
      return infoOf(found)
    },

    async open(key, { range, signal } = {}) {
      signal?.throwIfAborted()
      const found = await find(key)
      if (!found) throw notThere(key)
      const checked = checkRange(key, found.bytes, range)
      // Asked for with the first chunk: a stream nobody reads holds no connection.
      return { [Symbol.asyncIterator]: () => readObject(transport, found, checked, signal) }
    },

    async delete(key) {
      await transport.send({ method: 'DELETE', key, expect: [404] })
    },

    async *list(prefix) {
      if (prefix !== '' && !prefixShape.test(prefix)) return
      let token: string | undefined
      do {
        const page: ReturnType<typeof parseObjectList> = parseObjectList(
          (
            await transport.send({
              method: 'GET',
              query: { 'list-type': '2', prefix, ...(token === undefined ? {} : { 'continuation-token': token }) },
            })
          ).text,
        )
        for (const { key, bytes, modifiedAt } of page.objects) if (isBlobKey(key)) yield { key, bytes, modifiedAt }
        token = page.next
      } while (token !== undefined)
    },
  }
}

export const infoOf = ({ key, bytes, modifiedAt }: BlobInfo): BlobInfo => ({ key, bytes, modifiedAt })
const notThere = (key: BlobKey): HubError => new HubError('corrupt', `${key} is not in the store`)

/** Every piece is of the object that was looked at: another under its name is not taken for it. */
async function* readObject(
  transport: S3Transport,
  { key, etag }: S3Object,
  { from, to }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted()
  let resumes = 0
  for (let at = from; at < to; ) {
    const headers = { range: `bytes=${at}-${to - 1}`, 'if-match': etag }
    const answer = await transport.open({ method: 'GET', key, headers, signal, expect: [404, 412] })
    if (answer.status === 404) throw notThere(key)
    if (answer.status === 412) throw new HubError('corrupt', `${key} was replaced while it was read`)
    let broken: unknown
    try {
      const range = String(answer.headers['content-range'])
      if (answer.status !== 206 || !range.startsWith(`bytes ${at}-${to - 1}/`)) throw failureOf(`GET ${key}, bytes ${at} to ${to},`, answer)
      for (const reader = answer.body[Symbol.asyncIterator](); ; ) {
        const next = await reader.next().catch((error: unknown) => {
          signal?.throwIfAborted()
          broken = error
        })
        signal?.throwIfAborted()
        if (!next || next.done) break
        const chunk = next.value as Uint8Array
        at += chunk.length
        if (at > to) throw new HubError('unavailable', `the store sent more of ${key} than was asked for`)
        resumes = 0
        yield chunk
      }
    } finally {
      answer.body.on('error', () => undefined).destroy()
    }
    if (at === to) return
    if (++resumes > maxResumes) throw new HubError('unavailable', `${key} broke off at byte ${at} of ${to}`, { cause: broken })
    await transport.pause(resumes, signal)
  }
}
