import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { createToken } from '../auth/tokens.js'
import { HubError } from '../errors.js'

export interface Secrets {
  /** Of the user `admin`. */
  readonly adminToken: string
  readonly secretKey: string
  /** Names this hub's files where several hubs may share a folder. */
  readonly hubId: string
  /** Where the admin token stands for the person at the console; undefined when it was given from outside. */
  readonly adminTokenPath: string | undefined
  /** The files were made just now: nobody has been here before. */
  readonly firstStart: boolean
}

export interface SecretsOptions {
  readonly dataDirectory: string
  /** With the embedded database secrets that are not given are made, and kept beside it. */
  readonly embedded: boolean
  readonly adminToken: string | undefined
  readonly secretKey: string | undefined
}

/**
 * What the hub knows and nobody else may. Files are 0600 and never printed.
 * @throws HubError `config` when something must be given and is not
 */
export async function ensureSecrets({ dataDirectory, embedded, adminToken, secretKey }: SecretsOptions): Promise<Secrets> {
  await mkdir(dataDirectory, { recursive: true })
  const hubId = await keepFile(join(dataDirectory, 'hub-id'), undefined, randomUUID)
  if (!embedded) {
    if (adminToken === undefined || secretKey === undefined) {
      throw new HubError('config', 'with a database of your own CAIRN_ADMIN_TOKEN and CAIRN_SECRET_KEY must be set: every replica uses the same')
    }
    return { adminToken, secretKey, hubId: hubId.value, adminTokenPath: undefined, firstStart: hubId.created }
  }
  const key = secretKey ?? (await keepFile(join(dataDirectory, 'secret-key'), undefined, () => randomBytes(32).toString('base64url'))).value
  const adminTokenPath = join(dataDirectory, 'admin-token')
  // Client commands read this file, so it says what holds.
  const token = await keepFile(adminTokenPath, adminToken, createToken)
  return { adminToken: token.value, secretKey: key, hubId: hubId.value, adminTokenPath, firstStart: token.created && hubId.created }
}

/** Puts what an embedded hub is to go on with into the files where it looks for it. */
export async function ensureSecretFiles(
  dataDirectory: string,
  { adminToken, secretKey }: { readonly adminToken: string | undefined; readonly secretKey: string },
): Promise<void> {
  await keepFile(join(dataDirectory, 'secret-key'), secretKey, () => secretKey)
  if (adminToken !== undefined) await keepFile(join(dataDirectory, 'admin-token'), adminToken, () => adminToken)
}

/** The text of a file; without the file, what `create` makes, kept there from now on. `given` takes the place of what stood there. */
async function keepFile(
  path: string,
  given: string | undefined,
  create: () => string,
): Promise<{ readonly value: string; readonly created: boolean }> {
  const existing = (await readIfThere(path))?.trim() ?? ''
  if (existing !== '' && (given === undefined || given === existing)) return { value: existing, created: false }
  const value = given ?? create()
  await writeWhole(path, value)
  return { value, created: existing === '' }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Whole and synced, or not at all: half a secret would lock everybody out. */
async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(`${text}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const folder = await open(join(path, '..'), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
