import type { ActorState } from '../db/versions.js'

/** Somebody with a live token. */
export interface SignedInActor {
  readonly kind: 'user' | 'service'
  readonly id: number
  readonly name: string
  readonly fullName: string | null
  readonly email: string | null
  readonly isAdmin: boolean
  /** Rises with every change of this actor's tokens, roles or state. */
  readonly accessVer: number
  readonly token: ActorState['token']
}

/** Who asks. */
export type Actor = { readonly kind: 'anonymous' } | SignedInActor

export const anonymous: Actor = Object.freeze({ kind: 'anonymous' })

/** An organisation's own token acts as a service does: nobody in particular stands behind it. */
export function actorOf(state: ActorState): SignedInActor {
  const { id, kind, name, fullName, email, isAdmin, accessVer, token } = state
  return Object.freeze({ kind: kind === 'user' ? 'user' : 'service', id, name, fullName, email, isAdmin, accessVer, token })
}
