import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../src/config/config.js'
import type { Database } from '../../src/db/pool.js'
import { buildApp } from '../../src/server/app.js'
import { createServices, type Services } from '../../src/server/services.js'
import { callApi, type CallApi } from './api.js'
import { emptyDatabase } from './postgres.js'

export interface ServedHub {
  readonly url: string
  readonly token: string
  /** For what no request can do. */
  readonly db: Database
  readonly dataDirectory: string
  readonly api: CallApi
  readonly services: Services
}

interface Teardown {
  teardown(work: () => unknown): void
}

/** A whole hub in the process of the test, over a database that the test can reach as well. */
export async function serveHub(t: Teardown, env: Readonly<Record<string, string>> = {}): Promise<ServedHub> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'cairn-hub-'))
  t.teardown(() => rm(dataDirectory, { recursive: true, force: true }))
  const db = await emptyDatabase(t)
  const { connectionString } = db.connection as { readonly connectionString: string }
  const token = `hf_${'b'.repeat(34)}`
  const config = loadConfig({
    CAIRN_DATA: dataDirectory,
    DATABASE_URL: connectionString,
    CAIRN_ADMIN_TOKEN: token,
    CAIRN_SECRET_KEY: 's'.repeat(32),
    ...env,
  })
  const services = await createServices(
    config,
    () => undefined,
    (error) => {
      throw error
    },
  )
  const app = buildApp(services, config)
  await app.listen({ host: '127.0.0.1', port: env['CAIRN_PORT'] === undefined ? 0 : config.port })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
    await services.close()
  })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  return {
    url,
    token,
    db,
    dataDirectory,
    api: callApi(url, () => token),
    services,
  }
}
