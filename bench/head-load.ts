import { once } from 'node:events'
import { connect } from 'node:net'

export interface HeadLoad {
  readonly perSecond: number
  readonly p50Ms: number
}

const endOfHead = '\r\n\r\n'

/**
 * Sends one HEAD over and over on `connections` connections, each waiting for its answer. wrk cannot: it waits for a body that never comes.
 * @throws Error when an answer was not 200
 */
export async function headLoad(url: string, connections: number, seconds: number): Promise<HeadLoad> {
  const { hostname, port, pathname } = new URL(url)
  const request = `HEAD ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`
  const times: number[] = []
  const start = performance.now()
  const end = start + seconds * 1000

  const one = async (): Promise<void> => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }).setEncoding('latin1')
    try {
      await once(socket, 'connect')
      let heard = ''
      let sentAt = performance.now()
      socket.write(request)
      for await (const chunk of socket as AsyncIterable<string>) {
        heard += chunk
        if (!heard.endsWith(endOfHead)) continue
        if (!heard.startsWith('HTTP/1.1 200 ')) throw new Error(`${url}: ${heard}`)
        heard = ''
        const now = performance.now()
        times.push(now - sentAt)
        if (now >= end) return
        sentAt = now
        socket.write(request)
      }
      throw new Error(`${url}: the connection ended`)
    } finally {
      socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: connections }, one))
  const took = (performance.now() - start) / 1000
  times.sort((a, b) => a - b)
  return { perSecond: times.length / took, p50Ms: times[Math.floor(times.length / 2)]! }
}
