import type { Takes } from '../../../protocol/pack/repack.js'
import { packOf, rankOf, type PackView } from '../../../protocol/ports.js'
import type { ObjectType } from '../../../protocol/types.js'

/** Objects of a view by what was marked on them, in shared memory: of several copies on the one that is found. */
export interface Selection {
  /** By pack ordinal and rank; a pack that is left out has no marks: 0. */
  readonly marks: readonly (Uint8Array | undefined)[]
  readonly mark: number
  /** Undefined: of any type. */
  readonly types?: readonly ObjectType[]
}

export const takesOf =
  (view: Pick<PackView, 'typeOf'>, { marks, mark, types }: Selection): Takes =>
  (entry) =>
    (marks[packOf(entry)]?.[rankOf(entry)] ?? 0) === mark && (types === undefined || types.includes(view.typeOf(entry)))
