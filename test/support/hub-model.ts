import { collectBlobs } from './copies.js'
import type { Domain } from './domain.js'
import type { Dice } from './dice.js'
import { PackModel } from './pack-model.js'

/** A repository and copies of it, and copies of these. */
const most = 4

/** What happens to several repositories that share stored packs, each beside its model. Fails by throwing. */
export class HubModel {
  readonly #domain: Domain
  readonly #dice: Dice
  readonly #name: string
  readonly #living: PackModel[] = []
  readonly #counts: Record<string, number> = {}
  #made = 0

  private constructor(domain: Domain, name: string, dice: Dice) {
    this.#domain = domain
    this.#name = name
    this.#dice = dice
  }

  static async create(domain: Domain, name: string, dice: Dice): Promise<HubModel> {
    const model = new HubModel(domain, name, dice)
    model.#living.push(new PackModel(domain, await domain.makeRepo(name), dice))
    return model
  }

  /** How often what happened. */
  get counts(): Readonly<Record<string, number>> {
    const counts = { ...this.#counts }
    for (const model of this.#living) addCounts(counts, model.counts)
    return counts
  }

  /** One thing that happens to one of them, and whether it holds what it must. */
  async step(): Promise<void> {
    const model = this.#living[this.#dice(this.#living.length)]!
    const roll = this.#dice(100)
    if (roll < 3 && this.#living.length < most) this.#living.push(await model.duplicate(`${this.#name}-copy-${this.#made++}`))
    else if (roll < 5 && this.#living.length > 1) await this.#end(model)
    else if (roll < 7) await model.purge()
    else if (roll < 9) this.#counts['blobs deleted'] = (this.#counts['blobs deleted'] ?? 0) + (await collectBlobs(this.#domain))
    else await model.step()
    if (this.#living.includes(model)) await model.check()
  }

  async checkAll(): Promise<void> {
    for (const model of this.#living) await model.check({ bytes: true })
  }

  async #end(model: PackModel): Promise<void> {
    await model.end()
    this.#living.splice(this.#living.indexOf(model), 1)
    addCounts(this.#counts, { ...model.counts, ended: 1 })
    await this.checkAll()
  }
}

export function addCounts(to: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [what, times] of Object.entries(counts)) to[what] = (to[what] ?? 0) + times
}
