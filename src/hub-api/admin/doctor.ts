import type { FastifyInstance } from 'fastify'
import { readBody } from '../../http/body-limit.js'
import { requestHub } from '../../http/request-context.js'

/** A probe, not a store. */
const maxBodyBytes = 8 * 1024 * 1024

/**
 * `POST /api/cairn/doctor`, a body of up to 8 MiB: what the hub sees of the request, for `cairn doctor`, which sends it through whatever stands in
 * front of the hub. The bytes are counted and dropped.
 */
export function adminDoctorRoute(hub: FastifyInstance, { hubId }: { readonly hubId: string }): void {
  void hub.register(async (app) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    app.post('/api/cairn/doctor', { config: { access: 'hub.admin', writes: false } }, async (request) => {
      let bytes = 0
      let firstAt: number | undefined
      for await (const chunk of readBody(request.raw, { maxBytes: maxBodyBytes })) {
        firstAt ??= performance.now()
        bytes += chunk.length
      }
      const { headers } = request
      return {
        hubId,
        baseUrl: requestHub(request).baseUrl,
        clientAddress: request.ip,
        peerAddress: request.socket.remoteAddress ?? '',
        // Both may have one address, on one machine.
        peerIsTrusted: (request.ips?.length ?? 0) > 1,
        forwardedFor: headers['x-forwarded-for'] ?? null,
        forwardedProto: headers['x-forwarded-proto'] ?? null,
        bytes,
        bodyMs: firstAt === undefined ? 0 : Math.round(performance.now() - firstAt),
      }
    })
  })
}
