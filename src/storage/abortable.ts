/**
 * The same items until the signal says stop, then its reason, also while the source is silent. The source is told by `return`, and not
 * waited for: one that is stuck would hold up its caller.
 */
export async function* abortable<T>(items: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  if (!signal) {
    yield* items
    return
  }
  signal.throwIfAborted()
  const iterator = items[Symbol.asyncIterator]()
  // One promise an item: a race against a promise that lives on would keep every item's reaction until the end.
  let giveUp: (reason: unknown) => void = () => undefined
  const onAbort = () => giveUp(signal.reason)
  signal.addEventListener('abort', onAbort)
  let ended = false
  try {
    for (;;) {
      signal.throwIfAborted()
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        giveUp = reject
        iterator.next().then(resolve, reject)
      })
      if (next.done) {
        ended = true
        return
      }
      yield next.value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    if (!ended) {
      const returned = Promise.resolve(iterator.return?.()).catch(() => undefined) // why it ended is known already
      if (!signal.aborted) await returned
    }
  }
}
