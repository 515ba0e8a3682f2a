import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseLimit, parseLockRequest, parseUnlock, parseVerifyLocks, wireLock } from '../../lfs/locks.js'
import { may } from '../auth/authorize.js'
import { HubError } from '../errors.js'
import { repoContext, signedInActor } from '../http/request-context.js'
import { readJson, sendJson } from './body.js'
import type { LfsRoutes } from './lfs-routes.js'

/** Locks: who works on a file that cannot be merged. They bind who asks for them (`lfs.locksverify`), not what is pushed. */
export function lockRoutes(app: FastifyInstance, { prefix, repoType, locks }: LfsRoutes): void {
  const writes = { config: { repoType, access: 'content.write' as const } }

  app.get(`${prefix}/locks`, { config: { repoType, access: 'content.read' } }, async (request, reply) => {
    const { path, id, cursor, limit } = textsOf(request)
    const page = await locks.list(repoContext(request).repo.id, { path, id, cursor: cursor || undefined, limit: parseLimit(limit) })
    return sendJson(reply, { locks: page.locks.map(wireLock), ...nextCursor(page) })
  })

  app.post(`${prefix}/locks`, writes, async (request, reply) => {
    const { path } = parseLockRequest(await readJson(request))
    const { created, lock } = await locks.create(repoContext(request).repo.id, path, signedInActor(request).id)
    if (created) return sendJson(reply.code(201), { lock: wireLock(lock) })
    return sendJson(reply.code(409), { lock: wireLock(lock), message: `already locked by ${lock.owner.name}` })
  })

  app.post(`${prefix}/locks/verify`, { config: { ...writes.config, writes: false } }, async (request, reply) => {
    const { cursor, limit } = parseVerifyLocks(await readJson(request))
    const page = await locks.list(repoContext(request).repo.id, { cursor, limit })
    const { id } = signedInActor(request)
    return sendJson(reply, {
      ours: page.locks.filter(({ owner }) => owner.id === id).map(wireLock),
      theirs: page.locks.filter(({ owner }) => owner.id !== id).map(wireLock),
      ...nextCursor(page),
    })
  })

  app.post(`${prefix}/locks/:id/unlock`, writes, async (request, reply) => {
    const { force } = parseUnlock(await readJson(request))
    const { repo, actor } = repoContext(request)
    const { id } = request.params as { readonly id: string }
    const lock = await locks.find(repo.id, id)
    if (!lock) throw new HubError('not-found', 'there is no such lock')
    // Ownership first: `force` is for those who run the repository.
    if (lock.owner.id !== signedInActor(request).id) {
      if (!force) throw new HubError('forbidden', `the lock is ${lock.owner.name}'s`)
      if (!may(actor, repo, 'repo.settings')) throw new HubError('forbidden', `only who runs the repository can take a lock from ${lock.owner.name}`)
    }
    const gone = await locks.remove(repo.id, id)
    if (!gone) throw new HubError('not-found', 'there is no such lock')
    return sendJson(reply, { lock: wireLock(gone) })
  })
}

const nextCursor = ({ nextCursor: next }: { readonly nextCursor?: string | undefined }): object => (next === undefined ? {} : { next_cursor: next })

/** Parameters of the query that are there once. */
function textsOf(request: FastifyRequest): Readonly<Record<'path' | 'id' | 'cursor' | 'limit', string | undefined>> {
  const query = request.query as Readonly<Record<string, unknown>>
  const text = (name: string): string | undefined => {
    const value = query[name]
    if (value !== undefined && typeof value !== 'string') throw new HubError('bad-request', `${name} may be given once`)
    return value
  }
  return { path: text('path'), id: text('id'), cursor: text('cursor'), limit: text('limit') }
}
