import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

interface Teardown {
  teardown(work: () => unknown): void
}

export interface SlowWire {
  readonly url: string
  /** What came from the hub so far. */
  readonly bytes: number
}

/** A way to a hub on which answers come slowly; it holds back no more than a chunk of 64 KiB. When the hub breaks a connection off, so does it. */
export async function openSlowWire(t: Teardown, hubUrl: string, bytesPerSecond: number): Promise<SlowWire> {
  const { hostname, port } = new URL(hubUrl)
  let bytes = 0
  const server = createServer((client) => {
    const upstream = connect({ host: hostname, port: Number(port) })
    for (const socket of [client, upstream]) socket.on('error', () => undefined)
    client.on('data', (chunk) => upstream.write(chunk))
    client.on('close', () => upstream.destroy())
    const pass = async (): Promise<void> => {
      for await (const chunk of upstream as AsyncIterable<Buffer>) {
        bytes += chunk.length
        client.write(chunk)
        await delay((chunk.length / bytesPerSecond) * 1_000)
      }
    }
    pass().then(
      () => client.end(),
      () => client.destroy(),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    get bytes() {
      return bytes
    },
  }
}
