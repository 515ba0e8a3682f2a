/**
 * The least a server can do for `HEAD resolve`: one Fastify route, one named SELECT, the headers it is told to send. A process of its own, so
 * that it has a thread of its own as the hub has. Settings in BARE_PORT, BARE_DATABASE and BARE_HEADERS (JSON).
 */
import { fastify } from 'fastify'
import { Pool } from 'pg'

const pool = new Pool({ connectionString: process.env['BARE_DATABASE'], max: 20 })
const headers = JSON.parse(process.env['BARE_HEADERS']!) as Record<string, string>
await pool.query('CREATE TABLE IF NOT EXISTS bare (name text PRIMARY KEY, id bigint NOT NULL)')
await pool.query("INSERT INTO bare SELECT 'repository ' || i, i FROM generate_series(1, 1000) AS i ON CONFLICT DO NOTHING")

const app = fastify({ exposeHeadRoutes: false })
app.head('/:namespace/:name/resolve/*', async (_request, reply) => {
  const { rows } = await pool.query({ name: 'bare', text: 'SELECT id FROM bare WHERE name = $1', values: ['repository 500'] })
  if (rows.length !== 1) throw new Error('no row')
  return reply.headers(headers).send()
})
process.once('SIGTERM', () => void app.close().then(() => pool.end()))
await app.listen({ port: Number(process.env['BARE_PORT']), host: '127.0.0.1' })
