import { Client } from 'minio'
import { presignSignatureV4, signV4 } from 'minio/dist/esm/signing.mjs'

/** Where a bucket is and who asks. */
export interface S3Account {
  /** Scheme, host and port, no path. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKey: string
  readonly secretKey: string
  /** `path`: `host/bucket/key`; `host`: `bucket.host/key`. Over TLS a bucket with a dot in its name is always addressed by path. */
  readonly addressing: 'path' | 'host'
}

export interface RequestToSign {
  readonly method: string
  /** Without one the bucket itself is meant. */
  readonly key?: string | undefined
  /** Not encoded; a parameter without a value has an empty one. */
  readonly query?: Readonly<Record<string, string>> | undefined
  /** Names in lower case. All of them are signed, but for content-length and content-type. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

export interface SignedRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export interface S3Signer {
  /** @param sha256 hex of the body's hash, which the store then verifies; or `UNSIGNED-PAYLOAD` */
  sign(request: RequestToSign, sha256: string): SignedRequest
  /** An address that needs no headers, for who has no keys. `bodyBytes`: it is good for a body of that length alone, as Content-Length says it. */
  presign(request: RequestToSign, expiresSeconds: number, bodyBytes?: number): URL
}

/** Signature version 4 and the two styles of addresses, as `minio` makes them. It sends nothing. */
export function createS3Signer({ endpoint, bucket, region, accessKey, secretKey, addressing }: S3Account): S3Signer {
  const { protocol, hostname, port } = new URL(endpoint)
  const addresses = new Addresses({
    endPoint: hostname.replace(/^\[|\]$/g, ''),
    useSSL: protocol === 'https:',
    ...(port === '' ? {} : { port: Number(port) }),
    region,
    pathStyle: addressing === 'path',
  })
  const addressOf = ({ method, key, query, headers }: RequestToSign) =>
    addresses.of({
      method,
      bucketName: bucket,
      region,
      headers: { ...headers },
      query: encodeQuery(query),
      ...(key === undefined ? {} : { objectName: key }),
    })

  return {
    sign(request, sha256) {
      const date = new Date()
      const address = addressOf({
        ...request,
        headers: { ...request.headers, 'x-amz-content-sha256': sha256, 'x-amz-date': date.toISOString().replaceAll(/[-:]|\.\d+/g, '') },
      })
      const { headers, path } = address
      const authorization = signV4(address, accessKey, secretKey, region, date, sha256)
      return { url: `${protocol}//${headers['host']}${path}`, headers: { ...headers, authorization } }
    },

    presign(request, expiresSeconds, bodyBytes) {
      const address = addressOf(request)
      // `minio` leaves `content-length` out of every signature; spelled so it is signed, under the same name in small letters.
      const length = bodyBytes === undefined ? {} : { 'Content-Length': String(bodyBytes) }
      const signed = { ...address, headers: { ...length, host: address.headers['host']! } }
      return new URL(presignSignatureV4(signed, accessKey, secretKey, undefined, region, new Date(), expiresSeconds))
    },
  }
}

/** What `minio` knows of addresses, which it keeps for its own requests. */
class Addresses extends Client {
  of(request: Parameters<Client['getRequestOptions']>[0]): ReturnType<Client['getRequestOptions']> {
    return this.getRequestOptions(request)
  }
}

/** As signatures want it: more is escaped than encodeURIComponent does. */
function encodeQuery(query: Readonly<Record<string, string>> = {}): string {
  return Object.entries(query)
    .map(([name, value]) => `${escape(name)}=${escape(value)}`)
    .toSorted()
    .join('&')
}

const escape = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
