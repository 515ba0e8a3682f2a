import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

export interface LfsStub {
  readonly url: string
  stop(): Promise<void>
}

/** The least a git-lfs server can do: takes every object at its word, and writes it to a file. Nothing is hashed, synced, or asked of a database. */
export async function startLfsStub(folder: string): Promise<LfsStub> {
  await mkdir(folder, { recursive: true })
  const server = createServer((request, response) => {
    void (async () => {
      if (request.method === 'PUT') {
        await pipeline(request, createWriteStream(join(folder, request.url!.slice(1))))
        response.end()
        return
      }
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      response.setHeader('content-type', 'application/vnd.git-lfs+json')
      if (!request.url!.endsWith('/objects/batch')) {
        response.end(JSON.stringify({ ours: [], theirs: [] }))
        return
      }
      const { objects } = JSON.parse(Buffer.concat(chunks).toString()) as { objects: { oid: string; size: number }[] }
      response.end(
        JSON.stringify({
          transfer: 'basic',
          objects: objects.map(({ oid, size }) => ({
            oid,
            size,
            authenticated: true,
            actions: { upload: { href: `${url}/${oid}`, expires_in: 3600 } },
          })),
        }),
      )
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
