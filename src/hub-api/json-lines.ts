/** Each as a line of JSON. What is thrown before the first is thrown here; what comes later becomes the line that `explain` makes of it. */
export async function* jsonLines(items: AsyncIterable<object>, explain: (error: unknown) => object): AsyncGenerator<Uint8Array> {
  const encode = (item: object): Uint8Array => Buffer.from(`${JSON.stringify(item)}\n`)
  let isFirst = true
  try {
    for await (const item of items) {
      isFirst = false
      yield encode(item)
    }
  } catch (error) {
    if (isFirst) throw error
    yield encode(explain(error))
  }
}

/** The same items, and `{}` whenever none came for so long: proxies and clients give up an answer that says nothing. */
export async function* withKeepalive(items: AsyncIterable<object>, ms: number): AsyncGenerator<object> {
  const iterator = items[Symbol.asyncIterator]()
  const ask = (): Promise<IteratorResult<object>> => {
    const asked = iterator.next()
    asked.catch(() => undefined) // whoever leaves after an empty one never hears of it
    return asked
  }
  try {
    for (let next = ask(); ; ) {
      const silence = Promise.withResolvers<undefined>()
      const timeout = setTimeout(() => silence.resolve(undefined), ms)
      const result = await Promise.race([next, silence.promise]).finally(() => clearTimeout(timeout))
      if (!result) {
        yield {}
        continue
      }
      if (result.done) return
      yield result.value
      next = ask()
    }
  } finally {
    await iterator.return?.()
  }
}
