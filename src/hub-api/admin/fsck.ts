import type { FastifyInstance } from 'fastify'
import { refuseWhenReadOnly, requestHub } from '../../http/request-context.js'
import { sendStream } from '../../http/send-stream.js'
import { jsonLines, withKeepalive } from '../json-lines.js'

interface Body {
  readonly bytes?: boolean
  readonly repair?: boolean
  readonly removeOrphans?: boolean
}

const body = {
  type: ['object', 'null'],
  additionalProperties: false,
  properties: { bytes: { type: 'boolean' }, repair: { type: 'boolean' }, removeOrphans: { type: 'boolean' } },
}

/** A check of everything the hub keeps: findings as they come, figures last, each as it stands in the answer. */
export type CheckHub = (options: {
  readonly bytes: boolean
  readonly repair: boolean
  readonly removeOrphans: boolean
  readonly signal: AbortSignal
}) => AsyncIterable<object>

/** Proxies give up after a minute, as a rule. */
const keepaliveMs = 15_000

/**
 * `POST /api/cairn/fsck`: checks store and repositories, and changes nothing without `repair` or `removeOrphans`; `bytes` has everything read. The
 * answer comes line by line as JSON: `{"finding": …}` as they are found, `{}` while there is nothing to say, and last `{"figures": …}`, or `{"error": …}`
 * when it could not be done to its end. Who leaves ends it.
 */
export function adminFsckRoute(app: FastifyInstance, { checkHub }: { readonly checkHub: CheckHub }): void {
  app.post<{ Body: Body | null }>('/api/cairn/fsck', { schema: { body }, config: { access: 'hub.admin', writes: false } }, async (request, reply) => {
    const { bytes = false, repair = false, removeOrphans = false } = request.body ?? {}
    if (repair || removeOrphans) refuseWhenReadOnly(request)
    const { clientGone } = requestHub(request)
    const lines = withKeepalive(checkHub({ bytes, repair, removeOrphans, signal: clientGone }), keepaliveMs)
    const explain = (error: unknown): object => {
      if (!clientGone.aborted) request.log.error({ err: error }, 'fsck ended early')
      return { error: 'the check ended early: the log says why' }
    }
    const sent = await sendStream(reply.type('application/x-ndjson').header('cache-control', 'no-store'), jsonLines(lines, explain))
    if (sent.outcome === 'failed') request.log.error({ err: sent.error }, 'answer broken off')
    return reply
  })
}
