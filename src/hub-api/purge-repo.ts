import type { FastifyInstance } from 'fastify'
import { parseLfsOid } from '../../lfs/types.js'
import { parseOid } from '../../protocol/oid.js'
import { repoTypes } from '../db/repositories.js'
import { repoTypePaths } from '../http/repo-path.js'
import { repoContext, signedInActor } from '../http/request-context.js'
import type { PurgeRepo } from '../repos/purge-repo.js'

interface Body {
  readonly oids?: readonly string[]
  readonly largeFiles?: readonly string[]
}

const maxNamed = 1_000
const body = {
  type: ['object', 'null'],
  additionalProperties: false,
  properties: {
    oids: { type: 'array', maxItems: maxNamed, items: { type: 'string', pattern: '^[0-9a-f]{40}$' } },
    largeFiles: { type: 'array', maxItems: maxNamed, items: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
  },
}

/**
 * `POST /api/cairn/{models,datasets,spaces}/{ns}/{name}/purge`: everything goes for good that no ref leads to, for who may delete the repository.
 * 409 when a ref leads to one of `oids`, or to a pointer to one of `largeFiles`; these can no longer be had here afterwards.
 */
export function purgeRepoRoutes(app: FastifyInstance, { purgeRepo }: { readonly purgeRepo: PurgeRepo }): void {
  for (const repoType of repoTypes) {
    const url = `/api/cairn/${repoTypePaths[repoType].plural}/:namespace/:name/purge`
    app.post<{ Body: Body | null }>(url, { config: { repoType, access: 'repo.delete' }, schema: { body } }, async (request) => {
      const { repo, clientGone } = repoContext(request)
      const { oids = [], largeFiles = [] } = request.body ?? {}
      const actor = signedInActor(request)
      const purged = await purgeRepo(repo, {
        oids: oids.map((oid) => parseOid(oid)),
        largeFiles: largeFiles.map((oid) => parseLfsOid(oid)),
        actorId: actor.id,
        signal: clientGone,
      })
      request.log.info({ repo: `${repo.namespace}/${repo.name}`, repoType, actor: actor.name, ...purged }, 'repository purged')
      return purged
    })
  }
}
