import { ProtocolError } from './errors.js'
import type { Oid, RefName } from './types.js'

/** Lines are gathered to about so many bytes. */
const gatheredBytes = 64 * 1024

export interface BundleRef {
  readonly oid: Oid
  /** `HEAD` too, so that who clones the bundle knows what to check out. */
  readonly name: RefName | 'HEAD'
}

export interface BundleHeader {
  /** What the bundle brings, in the order in which it is shown. At least one: git takes no bundle without. */
  readonly refs: readonly BundleRef[]
  /** Commits that whoever reads the bundle must have with all they lead to; `comment` is for people, mostly the commit's subject. */
  readonly prerequisites?: readonly { readonly oid: Oid; readonly comment?: string }[]
  /** What was left out of the pack, as `git rev-list --filter` has it. Then it is version 3, which git reads from 2.28 on and filters from 2.36. */
  readonly filter?: string
}

/**
 * Everything of a bundle that stands before its pack. The pack holds whatever the refs lead to and the prerequisites do not.
 *
 *     # v2 git bundle                      # v3 git bundle · @object-format=sha1 · @filter=…
 *     -<oid> <comment>, each prerequisite · <oid> <ref>, each ref · an empty line · the pack
 *
 * Spec: gitformat-bundle(5).
 * @throws ProtocolError `bad-request` for no refs, and for names and filters that would be read as something else
 */
export function* encodeBundleHeader({ refs, prerequisites = [], filter }: BundleHeader): Generator<Buffer> {
  if (refs.length === 0) throw new ProtocolError('bad-request', 'a bundle without refs is none')
  let text = filter === undefined ? '# v2 git bundle\n' : `# v3 git bundle\n@object-format=sha1\n@filter=${oneLine(filter)}\n`
  for (const line of lines(refs, prerequisites)) {
    text += line
    if (text.length < gatheredBytes) continue
    yield Buffer.from(text, 'latin1')
    text = ''
  }
  yield Buffer.from(`${text}\n`, 'latin1')
}

function* lines(refs: readonly BundleRef[], prerequisites: NonNullable<BundleHeader['prerequisites']>): Generator<string> {
  for (const { oid, comment = '' } of prerequisites) yield `-${oid} ${Buffer.from(comment.replaceAll(/[\0\r\n]+/g, ' ')).toString('latin1')}\n`
  for (const { oid, name } of refs) yield `${oid} ${oneLine(name)}\n`
}

function oneLine(text: string): string {
  if (text === '' || /[\0\r\n]/.test(text)) throw new ProtocolError('bad-request', `not a line of a bundle: ${JSON.stringify(text.slice(0, 80))}`)
  return text
}
