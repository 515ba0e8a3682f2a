import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { answerTo } from '../../../src/http/error-map.js'
import { logFailure } from '../../../src/http/log-failure.js'

t.test('a failure is logged without what may be a secret in its address', async (t) => {
  const logged: unknown[] = []
  const log = { error: (fields: unknown) => logged.push(fields), debug: (fields: unknown) => logged.push(fields) }
  const request = { log, method: 'GET', url: '/x?token=hf_secret&rev=main' } as unknown as FastifyRequest
  const error = new Error('broken')
  logFailure(request, error, answerTo(error))
  t.match(logged, [{ url: '/x?token=[redacted]&rev=main', method: 'GET' }])
})
