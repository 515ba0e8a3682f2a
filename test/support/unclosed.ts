/**
 * Preloaded into every test process, with `--expose-gc`: a last collection before the end, so that a file handle nobody closed is told of
 * in every run, and not only when the memory happened to be cleared.
 */
let collected = false
process.on('beforeExit', () => {
  if (collected) return
  collected = true
  globalThis.gc?.()
  // The warning is written in a later turn of the event loop.
  setImmediate(() => setImmediate(() => undefined))
})
