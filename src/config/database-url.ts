import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'

/** How a PostgreSQL is reached. */
export interface DatabaseAddress {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user?: string
  readonly password?: string
  readonly database?: string
  readonly ssl: DatabaseTls | false
  /** Of the session, as `-c name=value`. */
  readonly options?: string
  readonly sslnegotiation?: 'postgres' | 'direct'
}

/** As `node:tls` takes it. */
export interface DatabaseTls {
  /** PEM. Undefined: whoever signed it is not asked for. */
  readonly ca?: string | readonly string[]
  readonly rejectUnauthorized: boolean
  /** There when the name in the certificate does not matter. */
  readonly checkServerIdentity?: () => undefined
  /** What the server knows us by, PEM. */
  readonly cert?: string
  readonly key?: string
}

/** What is wrong with an address. The message repeats no value that may be a secret. */
export class AddressComplaint extends Error {}

const parameters = ['host', 'port', 'user', 'password', 'dbname', 'options', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation'] as const
type Parameters = ReadonlyMap<string, string>

const sslModes = ['disable', 'require', 'verify-ca', 'verify-full']

/**
 * An address as libpq reads it: `postgresql://user:password@host:port/database?sslmode=…`. What libpq would do by itself and cannot be done here
 * is a complaint: several hosts, TLS if the server happens to offer it. So is a parameter nobody knows: a misspelled `sslmode` must not end in
 * a connection without TLS.
 * Spec: PostgreSQL 18, 32.1.1.2 "Connection URIs", 32.19 "SSL Support".
 * @throws AddressComplaint
 */
export function parseDatabaseUrl(text: string): DatabaseAddress {
  // The user part goes to the last @ before the first slash: passwords with an @ in them are seen in the wild.
  const [, userPart, hostPart = '', path = '', query = ''] = /^postgres(?:ql)?:\/\/(?:([^/?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(text) ?? []
  const given = readParameters(query)
  const [, user = '', password] = /^([^:]*)(?::(.*))?$/s.exec(userPart ?? '') ?? []
  const [, bracketed, plain = '', portText] = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/s.exec(hostPart) ?? [undefined, undefined, ',']
  const host = given.get('host') ?? bracketed ?? decode(plain)
  if (host === '') throw new AddressComplaint('names no host')
  if (host.includes(',') || given.has('hostaddr')) throw new AddressComplaint('must name one host')
  const port = Number(given.get('port') ?? (portText || '5432'))
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new AddressComplaint('must have a port from 1 to 65535')
  return {
    host,
    port,
    ...present('user', given.get('user') ?? decode(user)),
    ...present('password', given.get('password') ?? decode(password ?? '')),
    ...present('database', given.get('dbname') ?? decode(path)),
    ...present('options', given.get('options')),
    // libpq, too, has no TLS on a Unix socket, whatever is asked for.
    ...(host.startsWith('/') ? { ssl: false } : readTls(given)),
  }
}

const present = <Name extends string>(name: Name, value: string | undefined): Partial<Record<Name, string>> =>
  (value ?? '') === '' ? {} : ({ [name]: value } as Record<Name, string>)

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new AddressComplaint('has a % that begins no %XX: a % itself is written %25')
  }
}

function readParameters(query: string): Parameters {
  const given = new Map<string, string>()
  for (const pair of query.split('&').filter((part) => part !== '')) {
    const at = pair.indexOf('=')
    const name = decode(at === -1 ? pair : pair.slice(0, at))
    if (!parameters.some((known) => known === name)) {
      // What follows a password that was not encoded may be part of it.
      const shown = /^[a-z_]{1,40}$/.test(name) ? `the parameter ${name}` : 'a parameter'
      throw new AddressComplaint(`has ${shown}, which is not known here: known are ${parameters.join(', ')}`)
    }
    given.set(name, decode(at === -1 ? '' : pair.slice(at + 1)))
  }
  return given
}

function readTls(given: Parameters): Pick<DatabaseAddress, 'ssl' | 'sslnegotiation'> {
  const mode = given.get('sslmode')
  const rootFile = given.get('sslrootcert')
  if (mode === undefined || mode === 'disable') {
    for (const name of parameters) {
      if (name.startsWith('ssl') && name !== 'sslmode' && given.has(name)) throw new AddressComplaint(`has ${name} and no sslmode that uses it`)
    }
    return { ssl: false }
  }
  if (!sslModes.includes(mode)) throw new AddressComplaint(`must have an sslmode of ${sslModes.join(', ')}`)
  if (mode.startsWith('verify') && rootFile === undefined)
    throw new AddressComplaint(
      `has sslmode=${mode} and no sslrootcert: name the file of the CA's certificate, or sslrootcert=system for those of this machine`,
    )
  if (rootFile === 'system' && mode !== 'verify-full')
    throw new AddressComplaint('has sslrootcert=system, which only goes with sslmode=verify-full: anybody can have a certificate of a public CA')
  if (given.has('sslcert') !== given.has('sslkey')) throw new AddressComplaint('must have both of sslcert and sslkey, or none')
  const negotiation = given.get('sslnegotiation') ?? 'postgres'
  if (negotiation !== 'postgres' && negotiation !== 'direct') throw new AddressComplaint('must have an sslnegotiation of postgres or direct')
  return {
    sslnegotiation: negotiation,
    ssl: {
      rejectUnauthorized: rootFile !== undefined,
      ...(rootFile === undefined ? {} : { ca: rootFile === 'system' ? getCACertificates('system') : certificatesIn('sslrootcert', rootFile) }),
      // With a CA at hand, libpq reads require as verify-ca.
      ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
      ...(given.has('sslcert') ? { cert: certificatesIn('sslcert', given.get('sslcert')!), key: textIn('sslkey', given.get('sslkey')!) } : {}),
    },
  }
}

function certificatesIn(name: string, path: string): string {
  const pem = textIn(name, path)
  try {
    void new X509Certificate(pem)
  } catch {
    throw new AddressComplaint(`names a file that holds no certificate (${name}=${path})`)
  }
  return pem
}

function textIn(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new AddressComplaint(`names a file that cannot be read (${name}=${path}: ${(error as NodeJS.ErrnoException).code})`)
  }
}
