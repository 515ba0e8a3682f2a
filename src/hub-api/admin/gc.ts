import type { FastifyInstance } from 'fastify'
import { requestHub } from '../../http/request-context.js'

interface Body {
  readonly dryRun?: boolean
  readonly force?: boolean
}

const body = { type: 'object', additionalProperties: false, properties: { dryRun: { type: 'boolean' }, force: { type: 'boolean' } } }

/** What `cairn gc` is told of a run: figures, as they stand in the answer. */
export type CollectGarbage = (options: { readonly dryRun: boolean; readonly force: boolean; readonly signal: AbortSignal }) => Promise<object>

/**
 * `POST /api/cairn/gc`: one run of the collection that the hub does by itself every day. It answers when it is done. With `dryRun` nothing is
 * touched; with `force` also when most of what there is would go.
 */
export function adminGcRoute(app: FastifyInstance, { collectGarbage }: { readonly collectGarbage: CollectGarbage }): void {
  app.post<{ Body: Body | null }>('/api/cairn/gc', { schema: { body }, config: { access: 'hub.admin' } }, async (request) => {
    const { dryRun = false, force = false } = request.body ?? {}
    return collectGarbage({ dryRun, force, signal: requestHub(request).clientGone })
  })
}
