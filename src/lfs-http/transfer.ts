import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseVerify } from '../../lfs/verify.js'
import { HubError } from '../errors.js'
import { readBody } from '../http/body-limit.js'
import { requestHub } from '../http/request-context.js'
import { sendNamedBytes } from '../http/send-bytes.js'
import { readJson, sendJson } from './body.js'
import type { LfsRoutes } from './lfs-routes.js'
import { linkContext, readLink, type LinkUse } from './links.js'

/** Where the actions of a batch lead: the bytes of one object in and out, and whether they have arrived. */
export function transferRoutes(app: FastifyInstance, routes: LfsRoutes): void {
  const { prefix, repoType, largeFiles, links } = routes
  /** The link is what the caller shows: the route itself asks for nothing, and the link says whose repository it is about. */
  const byLink = (use: LinkUse) => ({
    config: { access: 'public' as const },
    onRequest: async (request: FastifyRequest) => {
      request.lfsLink = await readLink(request, use, repoType, links)
    },
  })

  app.route({
    method: ['GET', 'HEAD'],
    url: `${prefix}/objects/:oid`,
    ...byLink('download'),
    handler: async (request, reply) => {
      const startedAt = performance.now()
      const { claims, repo } = linkContext(request)
      const { clientGone } = requestHub(request)
      const size = (await largeFiles.find(repo.id, [claims.oid])).get(claims.oid)
      if (size === undefined) throw new HubError('not-found', 'this repository has no such object')
      const sent = await sendNamedBytes(request, reply, {
        of: repo,
        etag: `"${claims.oid}"`,
        size,
        headers: { 'content-type': 'application/octet-stream', 'content-disposition': 'attachment', 'cache-control': 'private, no-cache' },
        open: (range) => largeFiles.open(claims.oid, { range, signal: clientGone }),
      })
      if (sent) {
        const { outcome, bytes, error } = sent
        const phrase = outcome === 'sent' ? 'large object sent' : outcome === 'left' ? 'client left' : 'answer broken off'
        logTransfer(request, phrase, { bytes, ms: Math.round(performance.now() - startedAt), ...(outcome === 'failed' ? { err: error } : {}) })
      }
      return reply
    },
  })

  app.put(`${prefix}/objects/:oid`, byLink('upload'), async (request, reply) => {
    const startedAt = performance.now()
    const { claims, actor, repo } = linkContext(request)
    const { clientGone } = requestHub(request)
    const { oid, size, uploadId } = claims
    const stated = request.headers['content-length']
    // What cannot become the object is refused before it is sent.
    if (stated !== undefined && Number(stated) !== size) throw new HubError('invalid', `the object has ${size} bytes, and ${stated} were to come`)
    if (request.headers['content-encoding'] !== undefined)
      throw new HubError('unsupported-media', 'an object is sent as it is, without content-encoding')
    if (actor.kind === 'anonymous') throw new HubError('sign-in-required', 'only who has signed in can upload')
    await largeFiles.receive(
      { oid, size, uploadId, repoId: repo.id, actorId: actor.id, signal: clientGone, chunksLast: true },
      readBody(request.raw, { maxBytes: Number.MAX_SAFE_INTEGER }),
    )
    logTransfer(request, 'large object received', { bytes: size, ms: Math.round(performance.now() - startedAt) })
    return reply.code(200).send()
  })

  app.post(`${prefix}/objects/verify`, byLink('verify'), async (request, reply) => {
    const startedAt = performance.now()
    const { claims, actor, repo } = linkContext(request)
    const { oid, size } = parseVerify(await readJson(request))
    if (oid !== claims.oid) throw new HubError('forbidden', 'this link is for another object')
    let stored = (await largeFiles.find(repo.id, [oid])).get(oid)
    if (stored === undefined && largeFiles.direct && actor.kind !== 'anonymous') {
      const { uploadId } = claims
      const accepted = await largeFiles.direct.accept({ oid, size: claims.size, uploadId, repoId: repo.id, actorId: actor.id })
      if (accepted) {
        stored = claims.size
        logTransfer(request, 'large object accepted', { bytes: stored, ms: Math.round(performance.now() - startedAt) })
      }
    }
    if (stored === undefined) throw new HubError('not-found', 'the object has not arrived')
    if (stored !== size) throw new HubError('invalid', `the object has ${stored} bytes, not ${size}`)
    return sendJson(reply, {})
  })
}

function logTransfer(request: FastifyRequest, phrase: string, facts: object): void {
  const { claims, repo, actor } = linkContext(request)
  const fields = {
    repo: `${repo.namespace}/${repo.name}`,
    repoType: repo.type,
    actor: actor.kind === 'anonymous' ? null : actor.name,
    oid: claims.oid,
    ...facts,
  }
  if ('err' in facts) request.log.error(fields, phrase)
  else request.log.info(fields, phrase)
}
