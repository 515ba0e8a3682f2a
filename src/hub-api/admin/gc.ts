import type { FastifyInstance } from 'fastify'
import { requestHub } from '../../http/request-context.js'

interface Body {
  readonly dryRun?: boolean
  readonly force?: boolean
  readonly what?: readonly CollectedThing[]
}

const things = ['packs', 'large-files'] as const
type CollectedThing = (typeof things)[number]

const body = {
  type: 'object',
  additionalProperties: false,
  properties: { dryRun: { type: 'boolean' }, force: { type: 'boolean' }, what: { type: 'array', minItems: 1, maxItems: 2, items: { enum: things } } },
}

/** What `cairn gc` is told of a run: figures, as they stand in the answer. */
export type CollectGarbage = (options: {
  readonly dryRun: boolean
  readonly force: boolean
  readonly what?: readonly CollectedThing[]
  readonly signal: AbortSignal
}) => Promise<object>

/**
 * `POST /api/cairn/gc`: one run of the collection that the hub does by itself every day, of packs, of large files or, when nothing is said, of both.
 * It answers when it is done. With `dryRun` nothing is
 * touched; with `force` also when most of what there is would go.
 */
export function adminGcRoute(app: FastifyInstance, { collectGarbage }: { readonly collectGarbage: CollectGarbage }): void {
  app.post<{ Body: Body | null }>('/api/cairn/gc', { schema: { body }, config: { access: 'hub.admin' } }, async (request) => {
    const { dryRun = false, force = false, what } = request.body ?? {}
    return collectGarbage({ dryRun, force, ...(what ? { what } : {}), signal: requestHub(request).clientGone })
  })
}
