import { XMLParser } from 'fast-xml-parser'
import { HubError } from '../errors.js'

/** Values stay text: a key of digits is no number. */
const parser = new XMLParser({ parseTagValue: false, ignoreAttributes: true })

type Element = { readonly [name: string]: Element | readonly Element[] | string | undefined }

/** The code of an error such as `NoSuchKey`, which a store may also send with status 200. Undefined: the answer is none. */
export function findErrorCode(text: string): string | undefined {
  if (!text.includes('<Error')) return undefined
  const { Error: error } = parse(text)
  return typeof error === 'object' ? (textOf(error as Element, 'Code') ?? 'unknown') : undefined
}

/** The answer to the beginning of an upload in parts. */
export function parseUploadId(text: string): string {
  return need(textOf(childOf(parse(text), 'InitiateMultipartUploadResult'), 'UploadId'), 'UploadId')
}

/** The tag of a part that was copied. */
export function parseCopiedTag(text: string): string {
  return parseTag(need(textOf(childOf(parse(text), 'CopyPartResult'), 'ETag'), 'ETag'))
}

export interface ListedObject {
  readonly key: string
  readonly bytes: number
  /** To the second, as a look at the object itself tells it. */
  readonly modifiedAt: Date
}

/** One page of ListObjectsV2; `next` asks for the one after. */
export function parseObjectList(text: string): { readonly objects: readonly ListedObject[]; readonly next: string | undefined } {
  const result = childOf(parse(text), 'ListBucketResult')
  const objects = childrenOf(result, 'Contents').map((entry) => ({
    key: need(textOf(entry, 'Key'), 'Key'),
    bytes: Number(need(textOf(entry, 'Size'), 'Size')),
    modifiedAt: new Date(Math.floor(Date.parse(need(textOf(entry, 'LastModified'), 'LastModified')) / 1000) * 1000),
  }))
  return {
    objects,
    next: textOf(result, 'IsTruncated') === 'true' ? need(textOf(result, 'NextContinuationToken'), 'NextContinuationToken') : undefined,
  }
}

export interface ListedPart {
  readonly number: number
  readonly bytes: number
  readonly tag: string
}

/** One page of ListParts; `next` asks for the one after. */
export function parsePartList(text: string): { readonly parts: readonly ListedPart[]; readonly next: string | undefined } {
  const result = childOf(parse(text), 'ListPartsResult')
  const parts = childrenOf(result, 'Part').map((entry) => ({
    number: Number(need(textOf(entry, 'PartNumber'), 'PartNumber')),
    bytes: Number(need(textOf(entry, 'Size'), 'Size')),
    tag: parseTag(need(textOf(entry, 'ETag'), 'ETag')),
  }))
  return { parts, next: textOf(result, 'IsTruncated') === 'true' ? need(textOf(result, 'NextPartNumberMarker'), 'NextPartNumberMarker') : undefined }
}

/** The request that puts parts together, in the order given. */
export function completeUploadXml(parts: readonly { readonly number: number; readonly tag: string }[]): string {
  const items = parts.map(({ number, tag }) => `<Part><PartNumber>${number}</PartNumber><ETag>&quot;${escapeXml(tag)}&quot;</ETag></Part>`)
  return `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${items.join('')}</CompleteMultipartUpload>`
}

/** Without its quotes, which some stores escape. */
export const parseTag = (tag: string): string => tag.replaceAll(/"|&quot;|&#34;|&#x22;/g, '')

const escapeXml = (text: string): string => text.replaceAll(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`)

function parse(text: string): Element {
  try {
    return parser.parse(text) as Element
  } catch (cause) {
    throw new HubError('unavailable', 'the store answered with something that is no XML', { cause })
  }
}

const childOf = (element: Element, name: string): Element => childrenOf(element, name)[0] ?? {}

function childrenOf(element: Element, name: string): readonly Element[] {
  const value = element[name]
  return (Array.isArray(value) ? value : value === undefined ? [] : [value]) as readonly Element[]
}

function textOf(element: Element, name: string): string | undefined {
  const value = element[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

function need(value: string | undefined, what: string): string {
  if (value === undefined) throw new HubError('unavailable', `the store answered without ${what}`)
  return value
}
