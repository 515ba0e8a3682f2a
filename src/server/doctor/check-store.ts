import { randomBytes, randomUUID } from 'node:crypto'
import type { BlobKey, BlobStore, MultipartStore, SignedLinks } from '../../storage/blob-store.js'
import { stagingKey } from '../../storage/keys.js'
import { oneChunk, readWhole } from '../../storage/whole-bytes.js'
import { chain, Fault, look, Skipped, type Change, type Finding } from './finding.js'

export interface CheckedStore {
  readonly store: BlobStore & Partial<MultipartStore> & Partial<SignedLinks>
  /** For people. */
  readonly name: string
  /** What to change when it cannot be used at all. */
  readonly settings: Change
}

/** Smallest part that every S3 takes beside the last one. */
const partBytes = 5 * 1024 * 1024
const linkSeconds = 60
const outsideTimeoutMs = 10_000

/** Stores, reads and removes a few bytes under a key nobody else uses, in every way the hub does. */
export async function* checkStore({ store, name, settings }: CheckedStore): AsyncGenerator<Finding> {
  const key = stagingKey(`doctor-${randomUUID()}`)
  const content = randomBytes(1_000)
  const check = (what: string, work: () => Promise<string>): Promise<Finding> => look(`store: ${what}`, settings, () => explained(settings, work))
  try {
    const put = await check('put', async () => {
      await store.put(key, oneChunk(content))
      return `${name} takes bytes`
    })
    yield put
    if (put.state === 'fault') return
    yield check('get', async () => {
      expectSame(await readWhole(await store.open(key)), content)
      return 'they come back'
    })
    yield check('range', async () => {
      expectSame(await readWhole(await store.open(key, { range: { from: 10, to: 20 } })), content.subarray(10, 20))
      return 'a range of them, too'
    })
    yield check('conditional put', async () => {
      await store.put(key, oneChunk(Buffer.from('other bytes')), { ifAbsent: true })
      expectSame(await readWhole(await store.open(key)), content)
      return 'what is there is not overwritten'
    })
    yield check('list', async () => {
      for await (const info of store.list(key)) if (info.key === key && info.bytes === content.length) return 'it is listed'
      throw new Fault('what was stored is not listed', settings)
    })
    yield check('multipart', () => checkMultipart(store, key))
    yield check('presigned', () => checkLinks(store, key))
    yield check('delete', async () => {
      await store.delete(key)
      if (await store.stat(key)) throw new Fault('what was deleted is still there: is the bucket versioned, or locked?', settings)
      return 'it can be removed'
    })
  } finally {
    await store.delete(key).catch(() => undefined)
  }
}

async function checkMultipart(store: CheckedStore['store'], key: BlobKey): Promise<string> {
  if (!store.begin || !store.part || !store.complete || !store.abort) throw new Skipped('this store takes everything in one piece')
  const upload = await store.begin(key)
  try {
    const first = await store.part(upload, 1, oneChunk(Buffer.alloc(partBytes, 'x')))
    const second = await store.part(upload, 2, oneChunk(Buffer.from('end')))
    const { bytes } = await store.complete(upload, [first, second])
    if (bytes !== partBytes + 3) throw new Error(`two parts of ${partBytes} and 3 bytes became ${bytes}`)
    return 'parts are put together'
  } finally {
    await store.abort(upload).catch(() => undefined)
  }
}

/** As a client would use them: without our keys, at the address it is given. */
async function checkLinks(store: CheckedStore['store'], key: BlobKey): Promise<string> {
  const get = store.signedUrl?.(key, 'get', { expiresSeconds: linkSeconds })
  const put = store.signedUrl?.(key, 'put', { expiresSeconds: linkSeconds })
  if (!get || !put) throw new Skipped('this store gives out no links')
  const content = Buffer.from('through a link')
  for (const [url, init] of [
    [put, { method: 'PUT', body: content }],
    [get, {}],
  ] as const) {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(outsideTimeoutMs), redirect: 'manual' }).catch((error: unknown) => {
      throw new Fault(`${url.origin}, the address clients are given, does not answer: ${chain(error).at(-1)?.message}`, [
        'CAIRN_S3_PUBLIC_ENDPOINT',
        'CAIRN_TRANSFER',
      ])
    })
    const body = Buffer.from(await response.arrayBuffer())
    if (!response.ok)
      throw new Fault(
        `${url.origin}, the address clients are given, refused a signed ${'method' in init ? init.method : 'GET'} with ${response.status}`,
        ['CAIRN_S3_PUBLIC_ENDPOINT'],
      )
    if (url === get && !body.equals(content))
      throw new Fault(`${url.origin} answers with other bytes: it is not this store`, ['CAIRN_S3_PUBLIC_ENDPOINT'])
  }
  return `links work at ${get.origin}`
}

/** The store's own codes, as they stand in its words. */
const causes: readonly (readonly [RegExp, Change, string])[] = [
  [/NoSuchBucket/, ['CAIRN_S3_BUCKET'], 'make it, or name another'],
  [/InvalidAccessKeyId/, ['CAIRN_S3_ACCESS_KEY'], ''],
  [/SignatureDoesNotMatch/, ['CAIRN_S3_SECRET_KEY'], ''],
  [/RequestTimeTooSkewed/, ['the clock'], ''],
  [/AuthorizationHeaderMalformed/, ['CAIRN_S3_REGION'], ''],
  [/AccessDenied/, ['CAIRN_S3_ACCESS_KEY'], 'its policy must allow to get, put, list and delete objects in this bucket, multipart uploads included'],
  [/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH/, ['CAIRN_S3_ENDPOINT'], ''],
  [/self.signed certificate|unable to (get|verify)|certificate|ERR_TLS|wrong version number/i, ['CAIRN_S3_ENDPOINT'], ''],
]

async function explained(settings: Change, work: () => Promise<string>): Promise<string> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Fault || error instanceof Skipped) throw error
    const said = chain(error)
      .map(({ message, code }) => (typeof code === 'string' && !message.includes(code) ? `${message} [${code}]` : message))
      .join(': ')
    const known = causes.find(([pattern]) => pattern.test(said))
    throw new Fault(known?.[2] ? `${said}; ${known[2]}` : said, known?.[1] ?? settings)
  }
}

function expectSame(found: Buffer, expected: Buffer): void {
  if (!found.equals(expected)) throw new Error(`${expected.length} bytes were to come back, and ${found.length} others did`)
}
