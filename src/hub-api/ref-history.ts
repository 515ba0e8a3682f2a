import type { FastifyInstance } from 'fastify'
import { parseOid } from '../../protocol/oid.js'
import { parseRefName, refText } from '../../protocol/ref-name.js'
import { repoTypes } from '../db/repositories.js'
import { HubError } from '../errors.js'
import { repoTypePaths } from '../http/repo-path.js'
import { repoContext, signedInActor } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'

interface Query {
  readonly ref?: string
  readonly before?: string
  readonly limit?: string
}

const pageSize = 100
const largestPage = 1_000

const querystring = {
  type: 'object',
  properties: {
    ref: { type: 'string', maxLength: 300 },
    before: { type: 'string', pattern: '^[0-9]{1,15}$' },
    limit: { type: 'string', pattern: '^[0-9]{1,4}$' },
  },
}

const body = {
  type: 'object',
  required: ['ref', 'oid'],
  additionalProperties: false,
  properties: { ref: { type: 'string', maxLength: 300 }, oid: { type: 'string', pattern: '^[0-9a-f]{40}$' } },
}

/**
 * `GET /api/cairn/{models,datasets,spaces}/{ns}/{name}/reflog?ref=&before=&limit=`: what refs were, newest first, for who may write; `next` is
 * the `before` of the next page. `POST …/restore` with `ref` and `oid`: has a branch or tag be there again.
 */
export function refHistoryRoutes(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  for (const repoType of repoTypes) {
    const url = `/api/cairn/${repoTypePaths[repoType].plural}/:namespace/:name`
    const config = { repoType, access: 'content.write' as const }
    app.get<{ Querystring: Query }>(`${url}/reflog`, { config, schema: { querystring } }, async (request) => {
      const { repo } = repoContext(request)
      const { ref, before, limit } = request.query
      const size = Math.min(largestPage, Math.max(1, Number(limit ?? pageSize)))
      const steps = await repos.listRefSteps(repo, {
        name: ref === undefined ? undefined : Buffer.from(fullName(ref), 'latin1'),
        before: before === undefined ? undefined : Number(before),
        limit: size,
      })
      return {
        steps: steps.map(({ name, oldOid, newOid, actor, at }) => ({ ref: refText(name), oldOid, newOid, actor, at: at.toISOString() })),
        next: steps.length === size ? steps.at(-1)!.id : null,
      }
    })
    app.post<{ Body: { readonly ref: string; readonly oid: string } }>(`${url}/restore`, { config, schema: { body } }, async (request) => {
      const { repo, clientGone, mayStill } = repoContext(request)
      const name = fullName(request.body.ref)
      const oid = parseOid(request.body.oid)
      const actor = signedInActor(request)
      await repos.restoreRef(repo, { name, oid, actor, authorise: () => mayStill('content.write'), signal: clientGone })
      request.log.info({ repo: `${repo.namespace}/${repo.name}`, repoType, actor: actor.name, ref: refText(name), oid }, 'ref restored')
      return { ref: refText(name), oid }
    })
  }
}

/** A branch may be called by its short name. */
function fullName(text: string) {
  try {
    return parseRefName(text.startsWith('refs/') ? text : `refs/heads/${text}`)
  } catch (cause) {
    throw new HubError('bad-request', (cause as Error).message, { cause })
  }
}
