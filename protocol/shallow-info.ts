import { unlimitedDepth, type DeepenArguments, type ShallowArguments } from './deepen-arguments.js'
import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { lookUp } from './look-up.js'
import { oidBytes } from './oid.js'
import { dataPkt } from './pkt-line.js'
import type { Boundary, Deepen, FetchPort, RefTable, Slices } from './ports.js'
import { objectTypes, type Oid, type Ref, type RefName } from './types.js'

export interface ShallowInfo {
  /** Where the answer is cut; `undefined`: nowhere. */
  readonly boundary: Boundary | undefined
  /** `shallow` and `unshallow`, what the client is told about it. */
  readonly lines: readonly Buffer[]
}

type Change = Awaited<ReturnType<Deepen>>

/**
 * Where history is to end for a client. `undefined`: it has all of its history, and asked for no less.
 * @throws ProtocolError `bad-request`
 */
export async function findShallowInfo(
  port: FetchPort,
  wants: readonly Oid[],
  { shallow, deepen }: ShallowArguments,
  slices: Slices,
): Promise<ShallowInfo | undefined> {
  const known = await knownCommits(port, shallow, slices)
  if (!deepen && known.length === 0) return undefined
  const change = deepen ? await findChange(port, wants, known, deepen, slices) : { shallow: [], unshallow: [] }
  const boundary = { shallow: [...known, ...change.shallow], unshallow: change.unshallow }
  return { boundary: boundary.shallow.length > 0 ? boundary : undefined, lines: [...linesOf(change)] }
}

/** Without a line feed, as git writes them: libgit2 takes no other. */
function* linesOf({ shallow, unshallow }: Change): Generator<Buffer> {
  for (const oid of shallow) yield dataPkt(`shallow ${oid}`)
  for (const oid of unshallow) yield dataPkt(`unshallow ${oid}`)
}

/** What the repository does not know means nothing. */
async function knownCommits({ view }: FetchPort, oids: readonly Oid[], slices: Slices): Promise<readonly Oid[]> {
  const known: Oid[] = []
  await lookUp(view, oids, slices, (oid, entry) => {
    if (entry === -1) return
    if (view.typeOf(entry) !== objectTypes.commit) throw new ProtocolError('bad-request', `invalid shallow object ${oid}`)
    known.push(oid)
  })
  return known
}

async function findChange(port: FetchPort, wants: readonly Oid[], shallow: readonly Oid[], asked: DeepenArguments, slices: Slices): Promise<Change> {
  const { view } = port
  const cut = (tips: readonly Oid[], limit: Parameters<Deepen>[1]['limit']) => port.deepen(view, { tips, shallow, limit }, { slices })
  if (asked.kind === 'revisions') {
    return cut(wants, { kind: 'revisions', since: asked.since, not: asked.not.map((name) => refNamed(view.refs, name)) })
  }
  const { depth, relative } = asked
  if (depth !== unlimitedDepth && !relative) return cut(wants, { kind: 'depth', depth })
  // Whoever names a commit as shallow gets its parents: so only where he may have the commit.
  const open = shallow.filter((oid) => port.mayWant(oid, view.find(oidBytes(oid), 'read')))
  return depth === unlimitedDepth ? { shallow: [], unshallow: open } : cut(open, { kind: 'depth', depth: depth + 1 })
}

/** Where git looks for a ref that is not named in full. */
const places: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => `refs/${name}`,
  (name) => `refs/tags/${name}`,
  (name) => `refs/heads/${name}`,
  (name) => `refs/remotes/${name}`,
  (name) => `refs/remotes/${name}/HEAD`,
]

/** The object of the one ref that goes by this name, in full or shortened. @throws ProtocolError `bad-request` */
function refNamed(refs: RefTable, name: string): Oid {
  const found: Ref[] = []
  for (const place of places) {
    const full = place(name)
    const ref = refs.find((full === 'HEAD' ? refs.head : full) as RefName)
    if (ref) found.push(ref)
  }
  const [ref] = found
  if (ref && found.length === 1) return ref.oid
  throw new ProtocolError('bad-request', `deepen-not: '${humanLine(name.slice(0, 200))}' is ${ref ? 'ambiguous' : 'no ref here'}`)
}
