export interface ApiAnswer {
  readonly status: number
  /** JSON, or else the text itself. */
  readonly body: unknown
  readonly headers: Headers
}

export type CallApi = (method: string, path: string, body?: unknown, token?: string) => Promise<ApiAnswer>

/** Calls of a hub with JSON. `token` '': as nobody. */
export const callApi =
  (url: string, ownToken: () => string): CallApi =>
  async (method, path, body, token = ownToken()) => {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const { status, headers } = response
    try {
      return { status, headers, body: JSON.parse(text) as unknown }
    } catch {
      return { status, headers, body: text }
    }
  }
