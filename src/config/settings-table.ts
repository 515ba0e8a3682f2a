export interface Setting {
  readonly name: string
  /** As the README says it. */
  readonly byDefault: string
  readonly says: string
}

const settings = [
  { name: 'CAIRN_HOST', byDefault: '127.0.0.1', says: 'address to listen on' },
  { name: 'CAIRN_PORT', byDefault: '8080', says: 'port to listen on; 0: any free one' },
  { name: 'CAIRN_DATA', byDefault: './cairn-data', says: 'data directory: embedded database, blobs, spool, secrets' },
  {
    name: 'CAIRN_PUBLIC_URL',
    byDefault: 'the address a request used',
    says: 'address that people and clients use; every link begins with it. May have a path',
  },
  {
    name: 'CAIRN_ALLOWED_HOSTS',
    byDefault: 'none',
    says: 'without a public address: what besides loopback requests may call the hub, `name` or `name:port`, with commas',
  },
  { name: 'CAIRN_TRUSTED_PROXIES', byDefault: 'none', says: 'addresses or networks whose `X-Forwarded-*` are believed, with commas' },
  { name: 'CAIRN_CONTENT_URL', byDefault: 'none', says: 'another origin for active content (refused: not served yet)' },
  {
    name: 'CAIRN_ADMIN_TOKEN',
    byDefault: 'made, in `<data>/admin-token`',
    says: 'token of the user admin: `hf_` and 34 letters or digits. Needed with `DATABASE_URL`',
  },
  {
    name: 'CAIRN_SECRET_KEY',
    byDefault: 'made, in `<data>/secret-key`',
    says: 'seals the signing keys; at least 32 characters. Needed with `DATABASE_URL`',
  },
  {
    name: 'CAIRN_METRICS_TOKEN',
    byDefault: 'none',
    says: 'who reads `/metrics` sends it as a bearer token; at least 16 characters. Without it only loopback may, and nobody once a public address or a trusted proxy is set',
  },
  { name: 'DATABASE_URL', byDefault: 'an embedded PostgreSQL', says: 'a PostgreSQL (15 to 18) of yours, `postgresql://…`; TLS by `?sslmode=…`' },
  {
    name: 'DATABASE_DIRECT_URL',
    byDefault: '`DATABASE_URL`',
    says: 'the server itself, when `DATABASE_URL` is a pooler: for migrations, session locks, jobs and LISTEN',
  },
  { name: 'CAIRN_DATABASE_CONNECTIONS', byDefault: '20', says: 'connections to the database that requests share; four more are for all else' },
  { name: 'CAIRN_CACHE_DIR', byDefault: '`<data>/cache`', says: 'packs fetched from a remote store (no effect with blobs on disk)' },
  { name: 'CAIRN_CACHE_BYTES', byDefault: '8GiB', says: 'room for them (no effect with blobs on disk)' },
  {
    name: 'CAIRN_SPOOL_DIR',
    byDefault: '`<data>/spool`',
    says: 'where packs wait while they are checked; best on the file system of the data directory',
  },
  { name: 'CAIRN_SPOOL_BYTES', byDefault: 'half of what is free at start', says: 'room for them, of all pushes together' },
  { name: 'CAIRN_INGEST_BYTES', byDefault: '128MiB', says: 'memory for checking packs, of all pushes together' },
  { name: 'CAIRN_TABLE_BYTES', byDefault: '256MiB', says: 'memory for object tables, small packs and bitmaps of all repositories' },
  { name: 'CAIRN_ANSWER_BYTES', byDefault: '64MiB', says: 'memory for answers that are kept' },
  {
    name: 'CAIRN_ANSWER_DISK_BYTES',
    byDefault: '2GiB',
    says: 'disk, below the spool directory, for packs that answered clones and were made for them; 0: none is kept',
  },
  {
    name: 'CAIRN_ANSWER_STORE_BYTES',
    byDefault: '16GiB',
    says: 'room in the S3 store for those of 8 MiB and more, so that other hubs need not make them; 0: none is kept (no effect with blobs on disk)',
  },
  { name: 'CAIRN_MAX_BINARY_BYTES', byDefault: '10MiB', says: 'larger binary files are only taken in git-lfs' },
  { name: 'CAIRN_RETENTION_DAYS', byDefault: '14', says: 'days for which what nothing points to any more is kept' },
  { name: 'CAIRN_WORKERS', byDefault: 'as many as cores, at least 2', says: 'threads for heavy work' },
  {
    name: 'CAIRN_TRANSFER',
    byDefault: 'proxy',
    says: '`proxy`: bytes pass through the hub; `direct`: clients get signed addresses of the S3 store',
  },
  { name: 'CAIRN_S3_ENDPOINT', byDefault: 'none', says: 'address of an S3 store that keeps the blobs; then a bucket and keys must be set too' },
  { name: 'CAIRN_S3_PUBLIC_ENDPOINT', byDefault: '`CAIRN_S3_ENDPOINT`', says: 'its address as clients reach it' },
  { name: 'CAIRN_S3_BUCKET', byDefault: 'none', says: 'bucket, which exists and is for this hub alone' },
  { name: 'CAIRN_S3_REGION', byDefault: 'us-east-1', says: 'region' },
  { name: 'CAIRN_S3_ACCESS_KEY', byDefault: 'none', says: 'access key' },
  { name: 'CAIRN_S3_SECRET_KEY', byDefault: 'none', says: 'secret key' },
  { name: 'CAIRN_S3_ADDRESSING', byDefault: 'path', says: '`path`: the bucket begins the path; `host`: it begins the host name' },
  { name: 'CAIRN_S3_CA_FILE', byDefault: 'none', says: 'PEM file of a private authority that signed its certificate, beside the usual ones' },
] as const satisfies readonly Setting[]

export type SettingName = (typeof settings)[number]['name']

/** Every setting there is, in the order they are read about. The README shows this table. */
export const settingsTable: readonly (Setting & { readonly name: SettingName })[] = settings
