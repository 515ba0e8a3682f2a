import type { FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTokenFor, createUser } from '../../src/auth/accounts.js'
import { createFormTokens } from '../../src/auth/csrf.js'
import { createKeyRing } from '../../src/auth/keys.js'
import { createSessions } from '../../src/auth/sessions.js'
import { findNamespace } from '../../src/db/namespaces.js'
import { createUploads } from '../../src/repos/uploads.js'
import { buildApp, type AppOptions } from '../../src/server/app.js'
import { openDomain, slices, type Domain } from './domain.js'
import { openLargeFiles, type CountedLargeFiles } from './real-large-files.js'

/** The hub with its pages, over a real database, and users with a token each. */
export interface Pages {
  readonly app: FastifyInstance
  readonly url: string
  readonly domain: Domain
  readonly largeFiles: CountedLargeFiles
  /** Where uploads wait. */
  readonly spool: string
  addUser(name: string, options?: { readonly role?: 'read' | 'write'; readonly isAdmin?: boolean }): Promise<{ id: number; token: string }>
  addRepo(
    owner: string,
    name: string,
    options?: { visibility?: 'public' | 'private'; type?: 'model' | 'dataset' | 'space'; empty?: boolean },
  ): Promise<void>
}

export interface PagesOptions extends Partial<AppOptions> {
  readonly spoolBytes?: number
}

export async function openPages(t: { teardown(work: () => unknown): void }, options: PagesOptions = {}): Promise<Pages> {
  const domain = await openDomain(t)
  const { db, versions, packs, repos } = domain
  const spool = await mkdtemp(join(tmpdir(), 'cairn-uploads-'))
  t.teardown(() => rm(spool, { recursive: true, force: true }))
  const largeFiles = openLargeFiles(domain)
  const app = buildApp(
    {
      versions,
      repos,
      findNamespace: (name) => findNamespace(db, name),
      accounts: {
        createUser: (user) => createUser(db, user),
        findUser: (name) => findNamespace(db, name),
        createToken: async (token) => (await createTokenFor(db, token)).token,
      },
      pages: {
        sessions: createSessions({ db, versions }),
        formTokens: createFormTokens(createKeyRing({ db, secretKey: 'k'.repeat(32) })),
        uploads: createUploads({
          db,
          packs,
          versions,
          largeFiles,
          slices,
          maxRefs: 100,
          maxPackBytes: 64 * 2 ** 20,
          maxBinaryBytes: 10 * 2 ** 20,
          spool: { directory: spool, maxBytes: options.spoolBytes ?? 2 ** 30 },
        }),
      },
      hubId: 'hub-1',
      health: { database: async () => undefined, store: async () => undefined },
    },
    { allowedHosts: [], trustedProxies: [], maxPackBytes: 64 * 2 ** 20, ...options },
  )
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return {
    app,
    url,
    domain,
    largeFiles,
    spool,
    async addUser(name, { role = 'write', isAdmin = false } = {}) {
      const user = await createUser(db, { name, isAdmin, actorId: null })
      const { token } = await versions.changing({ actorId: user.id }, () =>
        createTokenFor(db, { userId: user.id, name: 'laptop', role, actorId: user.id }),
      )
      return { id: user.id, token }
    },
    async addRepo(owner, name, { visibility = 'public', type = 'model', empty = false } = {}) {
      const user = (await findNamespace(db, owner))!
      await repos.createRepo({ actor: user, path: { type, namespace: user.name, name }, namespaceId: user.id, visibility, empty })
    },
  }
}

/** What a browser does, as far as the hub sees it: keeps cookies, says where a form was sent from, goes where it is told only when asked. */
export class Browser {
  readonly #url: string
  readonly cookies = new Map<string, string>()

  constructor(url: string) {
    this.#url = url
  }

  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<PageAnswer> {
    return this.#send('GET', path, undefined, headers)
  }

  /** A form with fields alone. */
  async post(path: string, fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}): Promise<PageAnswer> {
    return this.#send('POST', path, new URLSearchParams(fields), { origin: this.#url, 'sec-fetch-site': 'same-origin', ...headers })
  }

  /** The upload form, sent as it stands on the page with these files and fields in it. */
  async upload(
    page: string,
    files: readonly SentFile[],
    fields: Readonly<Record<string, string>> = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<PageAnswer> {
    const { text } = await this.get(page)
    return this.#multipart(
      page,
      files,
      { csrf: formToken(text), branch: valueOf(text, 'branch'), folder: '', summary: '', description: '', ...fields },
      headers,
    )
  }

  /** Any such form. */
  async multipart(path: string, files: readonly SentFile[], fields: Readonly<Record<string, string>>): Promise<PageAnswer> {
    return this.#multipart(path, files, fields, {})
  }

  async signIn(token: string, next?: string): Promise<PageAnswer> {
    const { text } = await this.get(`/sign-in${next === undefined ? '' : `?next=${encodeURIComponent(next)}`}`)
    return this.post('/sign-in', { csrf: lastFormToken(text), token, ...(next === undefined ? {} : { next: valueOf(text, 'next') }) })
  }

  async #multipart(path: string, files: readonly SentFile[], fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>>) {
    const boundary = `----${randomUUID()}`
    const parts = Object.entries(fields).map(([name, value]) =>
      Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`),
    )
    for (const { name, content } of files) {
      const head = `--${boundary}\r\ncontent-disposition: form-data; name="files"; filename="${name.replaceAll('"', '%22')}"\r\ncontent-type: application/octet-stream\r\n\r\n`
      parts.push(Buffer.from(head), Buffer.from(content), Buffer.from('\r\n'))
    }
    parts.push(Buffer.from(`--${boundary}--\r\n`))
    return this.#send('POST', path, Buffer.concat(parts), {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      origin: this.#url,
      'sec-fetch-site': 'same-origin',
      ...headers,
    })
  }

  async #send(
    method: string,
    path: string,
    body: Buffer | URLSearchParams | undefined,
    headers: Readonly<Record<string, string>>,
  ): Promise<PageAnswer> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(this.#url + path, {
      method,
      redirect: 'manual',
      headers: { ...(cookie === '' ? {} : { cookie }), ...headers },
      ...(body === undefined ? {} : { body }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (/Max-Age=0\b/.test(line)) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return { status: response.status, headers: response.headers, location: response.headers.get('location'), text: await response.text() }
  }
}

export interface SentFile {
  readonly name: string
  readonly content: string | Uint8Array
}

export interface PageAnswer {
  readonly status: number
  readonly headers: Headers
  readonly location: string | null
  readonly text: string
}

const unescape = (text: string): string =>
  text
    .replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')

/** What stands in a field of a page. */
export const valueOf = (page: string, field: string): string => unescape(new RegExp(`name="${field}"[^>]*value="([^"]*)"`).exec(page)?.[1] ?? '')
export const formToken = (page: string): string => valueOf(page, 'csrf')
/** On a page with two forms the first is the sign-out button. */
export const lastFormToken = (page: string): string => [...page.matchAll(/name="csrf" value="([^"]*)"/g)].at(-1)?.[1] ?? ''
/** What the page complains about. */
export const complaintOf = (page: string): string => unescape(/role="alert">([^<]*)</.exec(page)?.[1] ?? '')
