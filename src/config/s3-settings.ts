import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { SettingsReader } from './settings-reader.js'
import type { SettingName } from './settings-table.js'

/** An S3 store, as `storage/s3-blob-store` takes it. */
export interface S3Settings {
  /** Scheme, host and port. */
  readonly endpoint: string
  /** The same, as clients reach it. */
  readonly publicEndpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKey: string
  readonly secretKey: string
  readonly addressing: 'path' | 'host'
  /** Certificates in PEM, believed beside the usual ones. */
  readonly ca: string | undefined
}

const names = [
  'CAIRN_S3_ENDPOINT',
  'CAIRN_S3_PUBLIC_ENDPOINT',
  'CAIRN_S3_BUCKET',
  'CAIRN_S3_REGION',
  'CAIRN_S3_ACCESS_KEY',
  'CAIRN_S3_SECRET_KEY',
  'CAIRN_S3_ADDRESSING',
  'CAIRN_S3_CA_FILE',
] as const satisfies readonly SettingName[]
const needed = ['CAIRN_S3_ENDPOINT', 'CAIRN_S3_BUCKET', 'CAIRN_S3_ACCESS_KEY', 'CAIRN_S3_SECRET_KEY'] as const

/** All or none: undefined when none is given, and when one that is needed is not, which is complained about. */
export function readS3Settings(read: SettingsReader): S3Settings | undefined {
  if (names.every((name) => read.text(name) === undefined)) return undefined
  for (const name of needed) {
    if (read.text(name) === undefined) read.complain(name, 'must be set with the other settings of the S3 store')
  }
  const endpoint = readEndpoint(read, 'CAIRN_S3_ENDPOINT')
  const publicEndpoint = readEndpoint(read, 'CAIRN_S3_PUBLIC_ENDPOINT') ?? endpoint
  const bucket = read.matching('CAIRN_S3_BUCKET', /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be 3 to 63 lower-case letters, digits, dots and dashes')
  const region = read.matching('CAIRN_S3_REGION', /^[A-Za-z0-9-]{1,64}$/, 'must be letters, digits and dashes') ?? 'us-east-1'
  const accessKey = read.matching('CAIRN_S3_ACCESS_KEY', /^[!-~]{1,128}$/, 'must be 1 to 128 characters without spaces')
  const secretKey = read.matching('CAIRN_S3_SECRET_KEY', /^[!-~]{1,256}$/, 'must be 1 to 256 characters without spaces')
  const addressing = read.text('CAIRN_S3_ADDRESSING') ?? 'path'
  if (addressing !== 'path' && addressing !== 'host') read.complain('CAIRN_S3_ADDRESSING', "must be 'path' or 'host'")
  if (addressing === 'host') {
    const hosts = [endpoint, publicEndpoint].filter((url) => url !== undefined).map((url) => new URL(url))
    if (hosts.some(({ hostname }) => isIP(hostname.replace(/^\[|\]$/g, '')) !== 0)) {
      read.complain('CAIRN_S3_ADDRESSING', "'host' puts the bucket before a name, and the store's address has none")
    }
    if (bucket?.includes('.') === true && hosts.some(({ protocol }) => protocol === 'https:')) {
      read.complain('CAIRN_S3_ADDRESSING', "'host' cannot be used over TLS with a bucket that has a dot in its name")
    }
  }
  const ca = readCertificates(read)
  if (endpoint === undefined || publicEndpoint === undefined || bucket === undefined || accessKey === undefined || secretKey === undefined) {
    return undefined
  }
  return Object.freeze({ endpoint, publicEndpoint, bucket, region, accessKey, secretKey, addressing: addressing === 'host' ? 'host' : 'path', ca })
}

function readEndpoint(read: SettingsReader, name: SettingName): string | undefined {
  const value = read.url(name, ['http:', 'https:'])
  if (value === undefined) return undefined
  const { origin, pathname } = new URL(value)
  return pathname === '/' ? origin : read.complain(name, 'must have no path: signatures cover it')
}

function readCertificates(read: SettingsReader): string | undefined {
  const path = read.text('CAIRN_S3_CA_FILE')
  if (path === undefined) return undefined
  try {
    const pem = readFileSync(path, 'utf8')
    // Throws where it reads none.
    return new X509Certificate(pem).raw.length > 0 ? pem : undefined
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    return read.complain('CAIRN_S3_CA_FILE', /^E[A-Z]+$/.test(code) ? `cannot be read: ${code}` : 'holds no certificate in PEM')
  }
}
