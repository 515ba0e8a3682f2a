import { once } from 'node:events'
import { createServer, connect, type Socket } from 'node:net'

interface Teardown {
  teardown(work: () => unknown): void
}

export type Direction = 'up' | 'down'

/** A wire between a client and a hub that stops at a set byte, so that a test can act while a transfer is half done. */
export interface TcpGate {
  readonly url: string
  /** After `bytes` more in that direction, over all connections, nothing passes in it. Resolves when it has come to that. */
  shutAfter(direction: Direction, bytes: number): Promise<void>
  /**
   * Nothing passes any more on the connections there are, and neither side hears of it, not even when the other ends. New ones are as before.
   * Comes back with how many they were.
   */
  silence(): number
  /** Everything passes again. What was held is dropped with its connections. */
  open(): void
}

export async function openTcpGate(t: Teardown, hubUrl: string): Promise<TcpGate> {
  const { hostname, port } = new URL(hubUrl)
  const pairs = new Set<readonly [client: Socket, server: Socket]>()
  const silent = new WeakSet<Socket>()
  const left: Record<Direction, number> = { up: Infinity, down: Infinity }
  let onShut: () => void = () => undefined

  const pass = (from: Socket, to: Socket, direction: Direction): void => {
    from.on('data', (chunk: Buffer) => {
      const passing = Math.min(chunk.length, left[direction])
      left[direction] -= passing
      if (passing > 0 && !to.write(chunk.subarray(0, passing))) {
        from.pause()
        to.once('drain', () => left[direction] > 0 && !silent.has(from) && from.resume())
      }
      if (left[direction] === 0) {
        from.pause()
        onShut()
      }
    })
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
  }

  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    const pair = [client, upstream] as const
    pairs.add(pair)
    client.on('close', () => pairs.delete(pair))
    pass(client, upstream, 'up')
    pass(upstream, client, 'down')
  })
  const drop = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    drop()
    server.close()
  })

  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    shutAfter(direction, bytes) {
      left[direction] = bytes
      return new Promise((resolve) => {
        onShut = resolve
      })
    },
    silence() {
      for (const pair of pairs)
        for (const socket of pair) {
          silent.add(socket)
          socket.pause()
        }
      return pairs.size
    },
    open() {
      left.up = Infinity
      left.down = Infinity
      drop()
    },
  }
}
