import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { HubError } from '../errors.js'
import type { DatabaseAddress } from './database-url.js'
import { freeBytes } from './free-bytes.js'
import { readS3Settings, type S3Settings } from './s3-settings.js'
import { settingsTable } from './settings-table.js'
import { SettingsReader } from './settings-reader.js'

export type { DatabaseAddress } from './database-url.js'
export { settingsTable, type SettingName } from './settings-table.js'

/** All settings, read once at the start. Sizes are bytes. */
export interface Config {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly dataDirectory: string
  /** Without a slash at its end. */
  readonly publicUrl: string | undefined
  readonly allowedHosts: readonly string[]
  readonly trustedProxies: readonly string[]
  readonly adminToken: string | undefined
  readonly secretKey: string | undefined
  /** Of who reads the metrics. */
  readonly metricsToken: string | undefined
  /** Undefined: the embedded one. */
  readonly database: DatabaseAddress | undefined
  /** Beside a pooler at `database`: the server itself. */
  readonly directDatabase: DatabaseAddress | undefined
  /** Of the pool; a few more are taken for jobs and for what needs a session of its own. */
  readonly databaseConnections: number
  /** Without one, blobs are files in the data directory. */
  readonly s3: S3Settings | undefined
  /** `direct`: clients get signed addresses of the S3 store. */
  readonly transfer: 'proxy' | 'direct'
  readonly cacheDirectory: string
  readonly cacheBytes: number
  readonly spoolDirectory: string
  readonly spoolBytes: number
  readonly ingestBytes: number
  readonly tableBytes: number
  readonly answerBytes: number
  readonly answerDiskBytes: number
  readonly answerStoreBytes: number
  /** Threads for work that would hold up others. */
  readonly workers: number
  /** Of one push. */
  readonly maxPackBytes: number
  /** How long what nothing points to any more can be had back. */
  readonly retentionMs: number
  /** What a binary file may have outside git-lfs. */
  readonly maxBinaryBytes: number
  /** How long open requests may go on when the hub stops. */
  readonly closeGraceMs: number
}

export type Env = Readonly<Record<string, string | undefined>>

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB
const maxPackBytes = 10 * GiB
const closeGraceMs = 30_000
/** The embedded database has 60 in all, for commands and jobs as well. */
const maxEmbeddedConnections = 40

/** Names that belong to client commands and tests, not to the hub. */
const otherNames = /^CAIRN_(URL|TOKEN|TEST_.*)$/

/**
 * The settings of an environment, frozen. Empty values count as not given.
 * @throws HubError `config` with every complaint in one message; no secret is in it
 */
export function loadConfig(env: Env): Config {
  const read = new SettingsReader(env)
  for (const name of Object.keys(env)) {
    if (name.startsWith('CAIRN_') && !otherNames.test(name) && !settingsTable.some((setting) => setting.name === name)) {
      read.complain(name, 'is no setting of this release')
    }
  }
  const dataDirectory = resolve(read.text('CAIRN_DATA') ?? './cairn-data')
  const spoolDirectory = resolve(read.text('CAIRN_SPOOL_DIR') ?? join(dataDirectory, 'spool'))
  const database = read.database('DATABASE_URL')
  const adminToken = read.matching(
    'CAIRN_ADMIN_TOKEN',
    /^hf_[A-Za-z0-9]{34,500}$/,
    "must be 'hf_' and at least 34 letters and digits: other tokens are dropped by clients",
  )
  const secretKey = read.matching('CAIRN_SECRET_KEY', /^.{32,1000}$/, 'must have at least 32 characters')
  const s3 = readS3Settings(read)
  const config: Config = {
    host: read.matching('CAIRN_HOST', /^[A-Za-z0-9._:-]+$/, 'must be a host name or an address') ?? '127.0.0.1',
    port: read.integer('CAIRN_PORT', { from: 0, to: 65_535 }) ?? 8080,
    dataDirectory,
    publicUrl: read.url('CAIRN_PUBLIC_URL', ['http:', 'https:'])?.replace(/\/+$/, ''),
    allowedHosts: read.list('CAIRN_ALLOWED_HOSTS'),
    trustedProxies: read.list('CAIRN_TRUSTED_PROXIES'),
    adminToken,
    secretKey,
    metricsToken: read.matching('CAIRN_METRICS_TOKEN', /^[\x21-\x7e]{16,1000}$/, 'must have at least 16 characters, printable ASCII without spaces'),
    database,
    directDatabase: read.database('DATABASE_DIRECT_URL'),
    databaseConnections: read.integer('CAIRN_DATABASE_CONNECTIONS', { from: 2, to: 1_000 }) ?? 20,
    s3,
    transfer: readTransfer(read),
    cacheDirectory: resolve(read.text('CAIRN_CACHE_DIR') ?? join(dataDirectory, 'cache')),
    cacheBytes: read.bytes('CAIRN_CACHE_BYTES') ?? 8 * GiB,
    spoolDirectory,
    spoolBytes: read.bytes('CAIRN_SPOOL_BYTES') ?? Math.floor(freeBytes(spoolDirectory) / 2),
    ingestBytes: read.bytes('CAIRN_INGEST_BYTES', 16 * MiB) ?? 128 * MiB,
    tableBytes: read.bytes('CAIRN_TABLE_BYTES', MiB) ?? 256 * MiB,
    answerBytes: read.bytes('CAIRN_ANSWER_BYTES', MiB) ?? 64 * MiB,
    answerDiskBytes: read.bytes('CAIRN_ANSWER_DISK_BYTES', 0) ?? 2048 * MiB,
    answerStoreBytes: read.bytes('CAIRN_ANSWER_STORE_BYTES', 0) ?? 16 * GiB,
    workers: read.integer('CAIRN_WORKERS', { from: 1, to: 256 }) ?? Math.max(2, availableParallelism()),
    maxPackBytes,
    retentionMs: (read.integer('CAIRN_RETENTION_DAYS', { from: 1, to: 3650 }) ?? 14) * 24 * 60 * 60_000,
    maxBinaryBytes: read.bytes('CAIRN_MAX_BINARY_BYTES', MiB) ?? 10 * MiB,
    closeGraceMs,
  }
  if (read.text('DATABASE_URL') !== undefined) {
    const why = 'must be set with DATABASE_URL: every replica uses the same'
    if (read.text('CAIRN_ADMIN_TOKEN') === undefined) read.complain('CAIRN_ADMIN_TOKEN', why)
    if (read.text('CAIRN_SECRET_KEY') === undefined) read.complain('CAIRN_SECRET_KEY', why)
  } else {
    if (config.directDatabase !== undefined) read.complain('DATABASE_DIRECT_URL', 'goes with DATABASE_URL')
    if (config.databaseConnections > maxEmbeddedConnections)
      read.complain('CAIRN_DATABASE_CONNECTIONS', `may be ${maxEmbeddedConnections} at most with the embedded database`)
  }
  // What has no effect yet must not pretend to have one.
  if (read.text('CAIRN_CONTENT_URL') !== undefined) read.complain('CAIRN_CONTENT_URL', 'this release serves no active content yet')
  if (read.complaints.length > 0) throw new HubError('config', complaintsText(read.complaints))
  return Object.freeze(config)
}

/** Whether an S3 store is asked for is what counts: what is wrong with it has been said. */
function readTransfer(read: SettingsReader): 'proxy' | 'direct' {
  const transfer = read.text('CAIRN_TRANSFER') ?? 'proxy'
  if (transfer === 'direct' && read.text('CAIRN_S3_ENDPOINT') === undefined) {
    read.complain('CAIRN_TRANSFER', "'direct' needs an S3 store: CAIRN_S3_ENDPOINT and what goes with it")
  }
  if (transfer === 'proxy' || transfer === 'direct') return transfer
  read.complain('CAIRN_TRANSFER', "must be 'proxy' or 'direct'")
  return 'proxy'
}

function complaintsText(complaints: readonly { readonly name: string; readonly says: string }[]): string {
  const lines = complaints.map(({ name, says }) => `${name} ${says}`)
  return lines.length === 1 ? `the settings are wrong: ${lines[0]}` : `the settings are wrong:\n${lines.map((line) => `  ${line}`).join('\n')}`
}
