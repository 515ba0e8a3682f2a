import type { FastifyPluginAsync } from 'fastify'

/** Each throws when its part is out of reach. */
export interface HealthChecks {
  readonly database: () => Promise<void>
  readonly store: () => Promise<void>
}

const checkTimeoutMs = 3_000

/** `GET /healthz`: the process answers. `GET /readyz`: database and store do, too. */
export const health =
  (checks: HealthChecks): FastifyPluginAsync =>
  async (app) => {
    const config = { access: 'public', bare: true } as const
    app.get('/healthz', { config }, async () => ({ status: 'ok' }))
    app.get('/readyz', { config }, async (request, reply) => {
      const outcomes = await Promise.all(
        Object.entries({ database: checks.database, store: checks.store }).map(async ([name, check]) => {
          try {
            await within(check(), checkTimeoutMs)
            return [name, 'ok'] as const
          } catch (error) {
            request.log.warn({ err: error, part: name }, 'not ready')
            return [name, 'unavailable'] as const
          }
        }),
      )
      const ready = outcomes.every(([, outcome]) => outcome === 'ok')
      return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'unavailable', ...Object.fromEntries(outcomes) })
    })
  }

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      work,
      new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer in ${ms} ms`)), ms)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}
