/** What an object is found to be while an answer is put together: bits of `EntryMarks`. */
export const objectBits = {
  /** To be sent. */
  included: 1,
  /** The client has it, and all it refers to. */
  had: 2,
  /** A commit that came up in the walk over them. */
  seen: 4,
  /** A commit that stands in the queue of that walk, or stood there. */
  queued: 8,
  /** A had commit whose tree is held against what is sent: where the client's part of the history ends, as a rule. */
  edge: 16,
  /** A tree that was given its place among those of one path. */
  placed: 32,
  /** A commit that counts as one without parents. */
  shallow: 64,
  /** A parent of a commit that was found, or what a wanted tag names. */
  named: 128,
} as const
