import type { Visibility } from '../db/repositories.js'

/** How a call says who may see what it makes: newer clients by `visibility`, older ones by `private`. */
export interface VisibilityBody {
  readonly visibility?: Visibility | null
  readonly private?: boolean | null
}

export const visibilityProperties = { visibility: { enum: ['public', 'private', null] }, private: { type: ['boolean', 'null'] } }

/** Undefined: it says nothing. */
export function askedVisibility({ visibility, private: isPrivate }: VisibilityBody): Visibility | undefined {
  if (visibility || typeof isPrivate !== 'boolean') return visibility ?? undefined
  return isPrivate ? 'private' : 'public'
}
