import { createHash } from 'node:crypto'
import { ProtocolError } from '../../protocol/errors.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import { oidBytes } from '../../protocol/oid.js'
import type { Oid } from '../../protocol/types.js'
import { removeRetiredPacks } from '../../src/db/packs.js'
import { sql } from '../../src/db/sql.js'
import type { RepoState } from '../../src/db/versions.js'
import { findPointers } from '../../src/packs/find-pointers.js'
import { collectBlobs, duplicate, objectsIn } from './copies.js'
import { collecting, folding, meanwhile } from './collections.js'
import { create, move, never, remove, type Domain } from './domain.js'
import type { Dice } from './dice.js'
import { ObjectSets, type KnownObject } from './object-sets.js'
import { blob, commitOf, nameOf, packOf, treeOf } from './packs.js'

const retentionHours = 24
const branches = 6
/** A pack with one of them does not live in the database. */
const large = [1, 2, 3].map((seed) =>
  blob(Array.from({ length: 4_000 }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest('hex')).join('')),
)

/** What a repository must hold, as sets, beside the repository that is to hold it. Fails by throwing. */
export class PackModel {
  readonly #domain: Domain
  readonly #repo: RepoState
  readonly #dice: Dice
  readonly #objects: ObjectSets
  readonly #commits: string[] = []
  readonly #refs = new Map<string, string>()
  #hours = 0
  #made = 0
  readonly counts: Record<string, number> = {}

  /** `like`: of which it is a copy. */
  constructor(domain: Domain, repo: RepoState, dice: Dice, like?: PackModel) {
    this.#domain = domain
    this.#repo = repo
    this.#dice = dice
    this.#objects = like ? like.#objects.unseen() : new ObjectSets()
    if (!like) return
    this.#commits.push(...like.#commits)
    this.#made = like.#made
  }

  /** One thing that happens to a repository. */
  async step(): Promise<void> {
    const roll = this.#dice(100)
    if (roll < 55) await this.#push()
    else if (roll < 65) await this.#moveBack()
    else if (roll < 73) await this.#delete()
    else if (roll < 78) await this.#pushAborted()
    else if (roll < 84) this.#count('folded', (await this.#folding()(this.#repo.id, never)).length > 0)
    else if (roll < 90) this.#count('collected', (await this.#collecting()(this.#repo.id, { signal: never })).outcome === 'collected')
    else if (roll < 93) await this.#whileReplacing()
    else if (roll < 95) await this.#abortCollection()
    else await this.#later(1 + this.#dice(20))
  }

  /** All that refs lead to may be relied on; what they led to within the retention time can be read. `bytes`: and is what it was. */
  async check({ bytes = false } = {}): Promise<void> {
    const needed = this.#reachable()
    for (const oid of needed) this.#objects.get(oid)!.seenAt = this.#hours
    const view = await this.#domain.packs.openSnapshot(this.#repo.id)
    try {
      const reader = createObjectReader(view)
      for (const [oid, { object, seenAt }] of this.#objects) {
        const use = needed.has(oid) ? 'credit' : 'read'
        if (use === 'read' && (seenAt < 0 || this.#hours - seenAt >= retentionHours)) continue
        const entry = view.find(oidBytes(oid as Oid), use)
        if (entry === -1) throw new Error(`${oid} is lost, ${use === 'credit' ? 'and a ref leads to it' : `${this.#hours - seenAt} hours after`}`)
        if (!bytes) continue
        const { type, data } = await reader.read(entry)
        if (type !== object.type || !object.data.equals(data)) throw new Error(`${oid} is something else now`)
      }
      const refs = view.refs.list.map(({ name, oid }) => `${name} ${oid}`).toSorted()
      const expected = [...this.#refs].map(([name, oid]) => `${name} ${oid}`).toSorted()
      if (refs.join() !== expected.join()) throw new Error(`refs are ${refs.join()} and not ${expected.join()}`)
    } finally {
      view.release()
    }
  }

  /** A copy of the repository, which holds what branches led to and nothing else. Now and then much happens to this one meanwhile. */
  async duplicate(name: string): Promise<PackModel> {
    if (this.#dice(3) > 0) await this.#collecting({ splitBytes: 1e9 })(this.#repo.id, { signal: never })
    const states = [new Map(this.#refs)]
    let happened: Promise<void> | undefined
    const happen = () => {
      happened ??= this.#happen().then((purged) => {
        if (purged) states.length = 0
        states.push(new Map(this.#refs))
      })
      return happened
    }
    const deps = {
      packs: meanwhile(this.#domain.packs, happen),
      findPointers: async (...args: Parameters<typeof findPointers>) => {
        await happen()
        return findPointers(...args)
      },
    }
    const source = (await this.#domain.versions.repoById(this.#repo.id))!
    const repo = await duplicate(this.#domain, source, name, this.#dice(2) === 0 ? deps : {})
    const copy = new PackModel(this.#domain, repo, this.#dice, this)
    await copy.#takeRefs(states)
    this.#count(happened ? 'copied, raced' : 'copied', true)
    return copy
  }

  /** The refs are the branches of one of these states; in packs there is what they lead to. */
  async #takeRefs(states: readonly ReadonlyMap<string, string>[]): Promise<void> {
    const view = await this.#domain.packs.openSnapshot(this.#repo.id)
    try {
      const found = view.refs.list.map(({ name, oid }) => `${name} ${oid}`).join()
      const branches = states.map((state) => [...state].filter(([name]) => name.startsWith('refs/heads/')).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      const state = branches.find((refs) => refs.map(([name, oid]) => `${name} ${oid}`).join() === found)
      if (!state) throw new Error(`a copy has the refs ${found}`)
      for (const [name, oid] of state) this.#refs.set(name, oid)
      const held = objectsIn(view)
      const reachable = this.#reachable()
      for (const name of reachable) if (!held.has(name)) throw new Error(`${name} was not copied`)
      for (const name of held) if (!reachable.has(name)) throw new Error(`${name} was copied, and no branch leads there`)
      this.#count(
        'shared',
        view.packs.some((pack) => pack.collected),
      )
    } finally {
      view.release()
    }
  }

  /** Some of what may happen while something else is under way. Whether there was a purge among it. */
  async #happen(): Promise<boolean> {
    for (let left = 1 + this.#dice(3); left > 0; left--) await (this.#dice(2) === 0 ? this.#moveBack() : this.#push())
    if (this.#dice(3) === 0) await this.#delete()
    const roll = this.#dice(4)
    if (roll === 0) await this.purge()
    if (roll === 1) await this.#collecting()(this.#repo.id, { signal: never })
    if (this.#dice(2) === 0) await collectBlobs(this.#domain)
    return roll === 0
  }

  /** What no ref leads to is gone for good. */
  async purge(): Promise<void> {
    const { outcome } = await this.#collecting({ retentionMs: 0 })(this.#repo.id, { purge: true, signal: never })
    if (outcome !== 'collected') throw new Error(`a purge came to: ${outcome}`)
    const needed = this.#reachable()
    const view = await this.#domain.packs.openSnapshot(this.#repo.id)
    view.release()
    for (const [oid, made] of this.#objects) {
      if (needed.has(oid)) continue
      made.seenAt = -1
      if (view.find(oidBytes(oid as Oid), 'read') !== -1) throw new Error(`${oid} is there after a purge`)
    }
    this.#count('purged', true)
  }

  /** The repository is deleted, and its packs go out of use, and from the database. */
  async end(): Promise<void> {
    const { db, repos, versions, adminId } = this.#domain
    await repos.deleteRepo((await versions.repoById(this.#repo.id))!, { id: adminId, name: 'admin', accessVer: 1 })
    await db.execute(sql`UPDATE packs SET state = 'retired', retired_at = now() - interval '48 hours' WHERE repo_id = ${this.#repo.id}`)
    await db.transaction((tx) => removeRetiredPacks(tx, retentionHours * 3_600_000, 1_000))
  }

  /** A commit upon one that there was at some time, with or without what it stands on. */
  async #push(before?: () => Promise<void>): Promise<boolean> {
    const base = this.#commits.length > 0 ? this.#commits[this.#pick(this.#commits.length)]! : undefined
    const files = Array.from({ length: 1 + this.#dice(3) }, () => blob(`file ${this.#dice(3) === 0 ? this.#dice(50) : `new ${this.#made++}`}`))
    if (this.#dice(5) === 0) files.push(large[this.#dice(large.length)]!)
    const entries = [...new Set(files.map(nameOf))].map((oid, i) => ['100644', `f${i}`, oid] as [string, string, string])
    const tree = treeOf(...entries)
    const commit = commitOf(nameOf(tree), ...(base === undefined ? [] : [base]))
    const oid = nameOf(commit)
    const fresh = [commit, tree, ...files]
    // A client that knows no better leaves out what the other side once had.
    const whole = base !== undefined && this.#dice(4) === 0
    const sent = new Map([...(whole ? this.#objects.closure(base) : [])].map((name) => [name, this.#objects.get(name)!.object]))
    for (const object of fresh) sent.set(nameOf(object), object)
    const name = this.#name()
    const old = this.#refs.get(name)
    if (old === oid) return false
    const refusal = await this.#send({
      commands: [old === undefined ? create(name, oid) : move(name, old, oid)],
      pack: packOf([...sent.values()] as never),
      ...(before ? { before } : {}),
    })
    if (refusal === undefined) {
      for (const object of files) this.#know(object, [])
      this.#know(
        tree,
        entries.map(([, , file]) => file),
      )
      this.#know(commit, [nameOf(tree), ...(base === undefined ? [] : [base])])
      if (!this.#commits.includes(oid)) this.#commits.push(oid)
      this.#refs.set(name, oid)
      this.#count('pushed', true)
      return true
    }
    if (whole || base === undefined || this.#reachable().has(base)) throw new Error(`a push was refused: ${refusal}`)
    this.#count('refused', true)
    return false
  }

  async #pushAborted(): Promise<void> {
    class Aborted extends Error {}
    try {
      await this.#push(async () => {
        throw new Aborted()
      })
    } catch (error) {
      if (!(error instanceof Aborted)) throw error
    }
    this.#count('aborted', true)
  }

  /** A branch goes to a commit that was there before; no pack is sent. */
  async #moveBack(): Promise<void> {
    if (this.#commits.length === 0) return
    const oid = this.#commits[this.#dice(this.#commits.length)]!
    const name = this.#name()
    const old = this.#refs.get(name)
    if (old === oid) return
    const refusal = await this.#send({ commands: [old === undefined ? create(name, oid) : move(name, old, oid)] })
    if (refusal === undefined) this.#refs.set(name, oid)
    else if (this.#reachable().has(oid)) throw new Error(`a branch could not be moved to ${oid}: ${refusal}`)
    this.#count('moved', refusal === undefined)
  }

  /** Why it was refused: for what is not here, or may not be relied on. Undefined: it was not. */
  async #send(push: Parameters<Domain['push']>[1]): Promise<string | undefined> {
    try {
      const [result] = await this.#domain.push(this.#repo, push)
      return result!.kind === 'ok' ? undefined : JSON.stringify(result)
    } catch (error) {
      if (error instanceof ProtocolError && error.code === 'missing-object') return error.message
      throw error
    }
  }

  async #delete(): Promise<void> {
    const names = [...this.#refs.keys()].filter((name) => name !== 'refs/heads/main')
    if (names.length === 0) return
    const name = names[this.#dice(names.length)]!
    const [result] = await this.#domain.push(this.#repo, { commands: [remove(name, this.#refs.get(name)!)] })
    if (result?.kind !== 'ok') throw new Error(`a branch could not be deleted: ${JSON.stringify(result)}`)
    this.#refs.delete(name)
    this.#count('deleted', true)
  }

  /** Pushes between the checks of new packs and their taking the place of the old ones. */
  async #whileReplacing(): Promise<void> {
    const happen = async () => {
      for (let left = 1 + this.#dice(3); left > 0; left--) await (this.#dice(2) === 0 ? this.#moveBack() : this.#push())
      if (this.#dice(3) === 0) await this.#delete()
    }
    const packs = meanwhile(this.#domain.packs, happen)
    if (this.#dice(3) === 0) await this.#folding({ packs })(this.#repo.id, never)
    else this.#count(`raced, ${(await this.#collecting({ packs })(this.#repo.id, { signal: never })).outcome}`, true)
  }

  /** It breaks off between two of its packs. */
  async #abortCollection(): Promise<void> {
    class Died extends Error {}
    const packs = meanwhile(this.#domain.packs, async () => {
      throw new Died()
    })
    await this.#collecting({ packs })(this.#repo.id, { signal: never }).catch((error: unknown) => {
      if (!(error instanceof Died)) throw error
      this.#count('died', true)
    })
  }

  async #later(hours: number): Promise<void> {
    await this.check()
    this.#hours += hours
    const by = sql`${hours}::float8 * interval '1 hour'`
    const { db } = this.#domain
    await db.execute(sql`UPDATE packs SET created_at = created_at - ${by}, retired_at = retired_at - ${by} WHERE repo_id = ${this.#repo.id}`)
    this.#count('rows removed', (await db.transaction((tx) => removeRetiredPacks(tx, retentionHours * 3_600_000, 1_000))) > 0)
  }

  #folding(options: Parameters<typeof folding>[1] = {}) {
    return folding(this.#domain, { limits: { maxInline: 8, maxPacks: 6 }, ...options })
  }

  #collecting(options: Parameters<typeof collecting>[1] = {}) {
    return collecting(this.#domain, { retentionMs: retentionHours * 3_600_000, splitBytes: this.#dice(2) === 0 ? 1 : 1e9, ...options })
  }

  #name(): string {
    const number = this.#dice(branches)
    return number === 0 || !this.#refs.has('refs/heads/main') ? 'refs/heads/main' : number === 1 ? 'refs/changes/1' : `refs/heads/b${number}`
  }

  /** Mostly one of the latest. */
  #pick(count: number): number {
    return this.#dice(3) === 0 ? this.#dice(count) : count - 1 - this.#dice(Math.min(count, 5))
  }

  #know(object: KnownObject['object'], refers: readonly string[]): void {
    this.#objects.know(object, refers, this.#hours)
  }

  #reachable(): ReadonlySet<string> {
    return this.#objects.closure(...this.#refs.values())
  }

  #count(what: string, happened: boolean): void {
    if (happened) this.counts[what] = (this.counts[what] ?? 0) + 1
  }
}
