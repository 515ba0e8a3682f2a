import type { FastifyReply, FastifyRequest } from 'fastify'
import type { GitService } from '../../protocol/types.js'
import { HubError } from '../errors.js'
import { repoContext, type RepoContext } from '../http/request-context.js'
import type { Sent } from '../http/send-stream.js'
import { noCache } from './errors.js'

/** @throws HubError `unsupported-media` */
export function checkContentType(request: FastifyRequest, service: GitService): void {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';')
  if (type.trim().toLowerCase() === `application/x-${service}-request`) return
  throw new HubError('unsupported-media', `expected content-type application/x-${service}-request, got '${type.slice(0, 100)}'`)
}

export const gitResult = (reply: FastifyReply, service: GitService): FastifyReply => reply.headers(noCache).type(`application/x-${service}-result`)

/** One line about an exchange that had begun to answer. */
export function logSent(request: FastifyRequest, sent: Sent, startedAt: number, facts: object, phrase: string): void {
  logStream(request, repoContext(request), sent, startedAt, facts, phrase)
}

/** The same for who was settled otherwise. */
export function logStream(
  request: FastifyRequest,
  { repo, actor }: Pick<RepoContext, 'repo' | 'actor'>,
  sent: Sent,
  startedAt: number,
  facts: object,
  phrase: string,
): void {
  const fields = {
    repo: `${repo.namespace}/${repo.name}`,
    repoType: repo.type,
    actor: actor.kind === 'anonymous' ? null : actor.name,
    bytes: sent.bytes,
    ms: Math.round(performance.now() - startedAt),
    ...facts,
  }
  if (sent.outcome === 'failed') request.log.error({ ...fields, err: sent.error }, 'answer broken off')
  else request.log.info(fields, sent.outcome === 'left' ? 'client left' : phrase)
}
