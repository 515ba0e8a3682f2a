import type { SettingName } from '../../config/config.js'

/** What one look at the hub's surroundings came to. */
export interface Finding {
  /** Such as `store: conditional put`. */
  readonly check: string
  readonly state: 'ok' | 'fault' | 'skipped'
  /** One line for people; no secret is in it. */
  readonly says: string
  /** What to change, when it is a fault. */
  readonly change?: readonly (SettingName | 'PostgreSQL' | 'the proxy' | 'the clock')[]
}

export type Change = NonNullable<Finding['change']>

/** A fault, with what to change. */
export class Fault extends Error {
  readonly change: Change
  constructor(says: string, change: Change, cause?: unknown) {
    super(says, { cause })
    this.change = change
  }
}

/** The check does not apply here, or cannot be made. */
export class Skipped extends Error {}

/**
 * Runs one check; comes back with what it says of the part that is sound. What it throws and did not expect is a fault of what `otherwise`
 * names.
 */
export async function look(check: string, otherwise: Change, work: () => Promise<string>): Promise<Finding> {
  try {
    return { check, state: 'ok', says: await work() }
  } catch (error) {
    if (error instanceof Skipped) return { check, state: 'skipped', says: error.message }
    if (error instanceof Fault) return { check, state: 'fault', says: error.message, change: error.change }
    return {
      check,
      state: 'fault',
      says: chain(error)
        .map(({ message }) => message)
        .join(': '),
      change: otherwise,
    }
  }
}

/** An error and what caused it, outermost first. */
export function chain(error: unknown): (Error & { readonly code?: unknown })[] {
  const errors: (Error & { readonly code?: unknown })[] = []
  for (let at = error; at instanceof Error && errors.length < 8; at = at.cause) errors.push(at)
  return errors
}

/** Whether an error, or what caused it, has one of these codes or names. */
export const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  chain(error).some(({ code, name }) => codes.includes(String(code)) || codes.includes(name))
