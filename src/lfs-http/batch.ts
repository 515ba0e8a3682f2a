import type { FastifyInstance } from 'fastify'
import { answerBatch, parseBatch } from '../../lfs/batch.js'
import { raiseTo, repoContext } from '../http/request-context.js'
import { readJson, sendJson } from './body.js'
import type { LfsRoutes } from './lfs-routes.js'
import { createLfsStore } from './store.js'

/** `POST objects/batch`: what a client has to do for objects it wants to have, or to have stored. */
export function batchRoute(app: FastifyInstance, routes: LfsRoutes): void {
  const { prefix, repoType } = routes
  app.post(`${prefix}/objects/batch`, { config: { repoType, access: 'content.read', writes: false } }, async (request, reply) => {
    const startedAt = performance.now()
    const batch = parseBatch(await readJson(request))
    if (batch.operation === 'upload') raiseTo(request, 'content.write')
    const context = repoContext(request)
    const answer = await answerBatch(batch, createLfsStore(routes, context))
    const { repo, actor } = context
    request.log.info(
      {
        repo: `${repo.namespace}/${repo.name}`,
        repoType: repo.type,
        actor: actor.kind === 'anonymous' ? null : actor.name,
        objects: batch.objects.length,
        toTransfer: answer.objects.filter(({ actions }) => actions !== undefined).length,
        ms: Math.round(performance.now() - startedAt),
      },
      `lfs ${batch.operation} batch answered`,
    )
    return sendJson(reply, answer)
  })
}
