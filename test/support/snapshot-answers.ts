import { packOf, type PackView } from '../../protocol/ports.js'

/** All that a view says: its refs, its packs, and everything it knows of each oid, bytes of the pack entry included. */
export async function answersOf(view: PackView, oids: readonly string[]): Promise<unknown> {
  const objects: unknown[] = []
  for (const oid of oids) {
    const name = Buffer.from(oid, 'hex')
    const [credit, entry] = [view.find(name, 'credit'), view.find(name, 'read')]
    if (entry === -1) {
      objects.push([oid, credit, entry])
      continue
    }
    const said = new Uint8Array(20)
    view.oidOf(entry, said)
    const bytes = await view.read(packOf(entry), view.offsetOf(entry), view.endOf(entry))
    const facts = [view.typeOf(entry), view.sizeOf(entry), view.offsetOf(entry), view.endOf(entry), view.baseOf(entry), view.isRefDelta(entry)]
    objects.push([oid, credit, entry, Buffer.from(said).toString('hex'), ...facts, Buffer.from(bytes).toString('hex')])
  }
  const packs = Array.from({ length: view.packCount }, (_, pack) => view.objectsIn(pack))
  return { head: view.refs.head, refs: view.refs.list, packs, objects }
}
