import type { FastifyInstance, FastifyRequest } from 'fastify'
import { repoTypes, type RepoType, type Visibility } from '../db/repositories.js'
import type { RepoPath } from '../db/versions.js'
import { HubError } from '../errors.js'
import { parseNewRepoPath, repoUrl } from '../http/repo-path.js'
import { authorizeNamespace, requestHub, signedInActor } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'
import { askedVisibility, visibilityProperties, type VisibilityBody } from './asked-visibility.js'
import { namespaceAndName } from './repo-name.js'
import { wireId } from './whoami.js'

interface CreateBody extends VisibilityBody {
  readonly name: string
  readonly organization?: string | null
  readonly type?: RepoType | null
  readonly sdk?: string | null
  readonly license?: string | null
  readonly files?: readonly FirstFile[] | null
}

const text = { type: ['string', 'null'], maxLength: 200 }
const body = {
  type: 'object',
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 200 },
    organization: text,
    type: { enum: [...repoTypes, null] },
    ...visibilityProperties,
    sdk: text,
    license: text,
    files: {
      type: ['array', 'null'],
      maxItems: 1000,
      items: {
        type: 'object',
        required: ['path', 'content'],
        properties: { path: { type: 'string', maxLength: 4096 }, content: { type: 'string' }, encoding: { enum: ['base64', 'utf-8'] } },
      },
    },
  },
}

/** First files come inside the call. */
const bodyLimit = 32 * 1024 * 1024

/** `POST /api/repos/create` */
export function createRepoRoute(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  app.post<{ Body: CreateBody }>('/api/repos/create', { schema: { body }, bodyLimit, config: { access: 'signed-in' } }, async (request) => {
    const { organization, type, sdk, license, files } = request.body
    const [namespace, name] = namespaceAndName(request.body.name, organization, signedInActor(request).name)
    return makeRepo(request, repos, {
      type: type ?? 'model',
      namespace,
      name,
      visibility: askedVisibility(request.body) ?? 'public',
      empty: false,
      sdk: sdk ?? undefined,
      license: license ?? undefined,
      files: files?.map((file) => ({ path: file.path, content: contentOf(file) })),
    })
  })
}

interface FirstFile {
  readonly path: string
  readonly content: string
  readonly encoding?: string
}

/** @throws HubError `bad-request` */
function contentOf({ path, content, encoding = 'base64' }: FirstFile): Buffer {
  if (encoding === 'utf-8') return Buffer.from(content, 'utf8')
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(content)) throw new HubError('bad-request', `the content of ${path} is not base64`)
  return Buffer.from(content, 'base64')
}

export interface NewRepo {
  readonly type: RepoType
  readonly namespace: string
  readonly name: string
  readonly visibility: Visibility
  readonly empty: boolean
  readonly sdk?: string | undefined
  readonly license?: string | undefined
  readonly files?: readonly { readonly path: string; readonly content: Uint8Array }[] | undefined
}

/** @throws HubError `already-exists` with the `url`, which clients need for `exist_ok` */
export async function makeRepo(request: FastifyRequest, repos: Repos, { type, namespace: owner, name, ...rest }: NewRepo) {
  const { baseUrl } = requestHub(request)
  const namespace = await authorizeNamespace(request, owner, 'namespace.create')
  const path = parseNewRepoPath(type, namespace.name, name)
  const actor = signedInActor(request)
  const repo = await withUrlWhenTaken(baseUrl, path, () => repos.createRepo({ actor, path, namespaceId: namespace.id, ...rest }))
  request.log.info({ repo: `${repo.namespace}/${repo.name}`, repoType: type, actor: actor.name }, 'repository created')
  return { url: repoUrl(baseUrl, repo), name: `${repo.namespace}/${repo.name}`, id: wireId(repo.id) }
}

/** @throws HubError `already-exists` with the `url` of what is there */
export async function withUrlWhenTaken<T>(baseUrl: string, path: RepoPath, make: () => Promise<T>): Promise<T> {
  try {
    return await make()
  } catch (error) {
    if (!(error instanceof HubError) || error.code !== 'already-exists') throw error
    throw new HubError('already-exists', error.message, { cause: error, details: { url: repoUrl(baseUrl, path) } })
  }
}
