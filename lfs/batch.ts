import { LfsError } from './errors.js'
import { fieldsOf, textField } from './json.js'
import type { Action, LargeObject, LfsStore } from './ports.js'
import { isSize, parseLfsOid, type LfsOid } from './types.js'

/** Objects in one batch. git-lfs sends up to 100, huggingface_hub 256. */
export const maxBatchObjects = 1_000

export type Operation = 'download' | 'upload'

export interface BatchRequest {
  readonly operation: Operation
  /** As the client named them: nothing about them has been checked. */
  readonly objects: readonly NamedObject[]
}

interface NamedObject {
  readonly oid: string
  readonly size: unknown
}

export interface ObjectError {
  readonly code: number
  readonly message: string
}

/** What is said of one object. Neither actions nor an error: the repository has it. */
export interface ObjectAnswer {
  readonly oid: string
  readonly size: number
  /** The client is to add no credentials of its own. */
  readonly authenticated?: true
  readonly actions?: Readonly<Record<string, Action>>
  readonly error?: ObjectError
}

export interface BatchAnswer {
  readonly transfer: 'basic'
  readonly objects: readonly ObjectAnswer[]
  readonly hash_algo: 'sha256'
}

/**
 * The request of a batch.
 * Spec: git-lfs docs/api/batch.md.
 * @throws LfsError `bad-body`, `bad-hash-algo`, `too-many-objects`
 */
export function parseBatch(body: unknown): BatchRequest {
  const { operation, objects, hash_algo: hashAlgo, transfers } = fieldsOf(body, 'a batch request')
  if (operation !== 'download' && operation !== 'upload') throw new LfsError('bad-body', "operation must be 'download' or 'upload'")
  if (hashAlgo !== undefined && hashAlgo !== null && hashAlgo !== 'sha256') {
    throw new LfsError('bad-hash-algo', `hash_algo must be 'sha256', not ${JSON.stringify(hashAlgo).slice(0, 80)}`)
  }
  if (transfers !== undefined && transfers !== null && !Array.isArray(transfers)) throw new LfsError('bad-body', 'transfers must be a list')
  if (!Array.isArray(objects)) throw new LfsError('bad-body', 'objects must be a list')
  if (objects.length > maxBatchObjects) {
    throw new LfsError('too-many-objects', `${objects.length} objects in one batch are over the limit of ${maxBatchObjects}`)
  }
  return {
    operation,
    objects: objects.map((object: unknown) => {
      const fields = fieldsOf(object, 'an object')
      return { oid: textField(fields, 'oid'), size: fields['size'] }
    }),
  }
}

/**
 * Answers a batch: one answer an object, in their order. What is wrong with one object is said of it, and holds up no other.
 * Who may read or write the repository has been settled before.
 */
export async function answerBatch({ operation, objects }: BatchRequest, store: LfsStore): Promise<BatchAnswer> {
  const checked = objects.map((object) => check(object, operation))
  const sound = distinct(checked.flatMap((one) => ('error' in one ? [] : [one])))
  const answerFor = operation === 'download' ? await downloads(sound, store) : await uploads(sound, store)
  return {
    transfer: 'basic',
    objects: await Promise.all(checked.map(async (one) => ('error' in one ? one : answerFor(one)))),
    hash_algo: 'sha256',
  }
}

function check({ oid, size }: NamedObject, operation: Operation): LargeObject | (ObjectAnswer & { readonly error: ObjectError }) {
  const shown = { oid, size: isSize(size) ? size : 0 }
  try {
    // Whoever downloads need not know the size.
    if (!isSize(size) && (operation === 'upload' || size !== undefined)) {
      return {
        ...shown,
        error: { code: 422, message: `the size of an object is a whole number of bytes, not ${JSON.stringify(size)?.slice(0, 80)}` },
      }
    }
    return { oid: parseLfsOid(oid), size: shown.size }
  } catch (error) {
    if (!(error instanceof LfsError)) throw error
    return { ...shown, error: { code: 422, message: error.message } }
  }
}

const distinct = (objects: readonly LargeObject[]): LargeObject[] => [...new Map(objects.map((object) => [object.oid, object])).values()]

type AnswerFor = (object: LargeObject) => Promise<ObjectAnswer>

async function downloads(objects: readonly LargeObject[], store: LfsStore): Promise<AnswerFor> {
  const sizes = await store.find(objects.map(({ oid }) => oid))
  return async ({ oid, size }) => {
    const stored = sizes.get(oid)
    if (stored === undefined) return { oid, size, error: { code: 404, message: 'this repository has no such object' } }
    return { oid, size: stored, authenticated: true, actions: { download: await store.download({ oid, size: stored }) } }
  }
}

async function uploads(objects: readonly LargeObject[], store: LfsStore): Promise<AnswerFor> {
  const sizes = await store.claim(objects)
  const wanted = objects.filter(({ oid }) => !sizes.has(oid))
  const reserved = wanted.length === 0 ? new Map<LfsOid, string>() : await store.reserve(wanted)
  return async ({ oid, size }) => {
    const stored = sizes.get(oid)
    if (stored !== undefined && stored !== size) return { oid, size, error: { code: 422, message: `the object has ${stored} bytes, not ${size}` } }
    if (stored !== undefined) return { oid, size }
    if ('noRoom' in reserved) return { oid, size, error: { code: 507, message: reserved.noRoom } }
    const { upload, verify } = await store.upload({ oid, size }, reserved.get(oid)!)
    return { oid, size, authenticated: true, actions: { upload, verify } }
  }
}
