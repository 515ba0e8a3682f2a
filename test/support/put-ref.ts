import { create, never, slices, type WorkTree } from './domain.js'
import type { ServedHub } from './served-hub.js'
import { bodyOf } from './wire.js'

/** What only the hub itself does: a ref of a model that nobody can push, upon something that is there. */
export async function putRef({ services }: ServedHub, work: WorkTree, id: string, ref: { name: string; oid: string; base: string }): Promise<void> {
  const [namespace, name] = id.split('/') as [string, string]
  const repo = (await services.versions.current({ repo: { type: 'model', namespace, name } })).repo!
  const actor = (await services.findNamespace('admin'))!
  const port = services.repos.openReceive(repo, { actor, authorise: async () => true, signal: never })
  const request = { commands: [create(ref.name, ref.oid)], atomic: false, pushOptions: [] }
  const staged = await port.stage(bodyOf(await work.pack(ref.oid, `^${ref.base}`)), request, { slices: slices() })
  const results = await port.apply(staged, request, () => undefined)
  await staged.dispose()
  if (results[0]?.kind !== 'ok') throw new Error(JSON.stringify(results))
}
