/** How much one request may ask of us. Every number here is met by a real client doing its worst; none is meant to be felt. */
export const wireLimits = {
  /** All pkt-lines of one request, inflated; the pack of a push does not count. git's largest honest negotiation is under 1 MiB. */
  requestBytes: 16 * 1024 * 1024,
  wants: 100_000,
  haves: 100_000,
  /** Shallow commits of one client. A clone of some months of a busy history has a few thousand. */
  shallows: 100_000,
  /** Refs that a client wants left out, with all they reach. */
  deepenNots: 100,
  /** `ref-prefix` lines of one ls-refs; past that every ref is listed, which a prefix may always lead to. */
  refPrefixes: 65_536,
  /** 5,000 refs in one push are promised; the rest is room. */
  pushCommands: 6_000,
  /** A file system component, which a loose ref's last part becomes on every client. */
  refNameBytes: 255,
  pushOptions: 100,
  pushOptionBytes: 4_096,
  /** Of a pack that was refused while it still arrived: read and forgotten, so that the client gets to read the reason. */
  drainBytes: 1024 * 1024 * 1024,
} as const
