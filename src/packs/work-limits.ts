/** What heavy work may come to, whoever asks for it. */
export interface WorkLimits {
  /**
   * Packs made at once for one repository, or one caller, until their first byte; histories cut for shallow clients likewise. Stored packs
   * and kept answers need no turn.
   */
  readonly buildsAtOnce: number
  /** Received packs checked at once for one repository, or one user. */
  readonly checksAtOnce: number
  /** Making a pack, without what the client needs to take it; cutting a history. */
  readonly maxBuildMs: number
  /** Checking a pack, from the end of its arrival on. */
  readonly maxCheckMs: number
}

export const workLimits: WorkLimits = { buildsAtOnce: 8, checksAtOnce: 8, maxBuildMs: 10 * 60_000, maxCheckMs: 30 * 60_000 }
