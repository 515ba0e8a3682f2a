import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

type Labels<Name extends string> = Readonly<Record<Name, string>>

/** Makes instruments in one registry. Names are given without `cairn_`, which stands before all of them. */
export interface Instruments {
  /**
   * A total that is counted up. `values` has every value of every label: each combination begins at 0, so that the first event counts as a
   * change, and there can never be more of them.
   */
  readonly counter: <Name extends string>(
    name: string,
    help: string,
    values: Readonly<Record<Name, readonly string[]>>,
  ) => (labels: Labels<Name>, by?: number) => void
  /** A total that somebody else keeps, read when it is asked for. */
  readonly total: (name: string, help: string, read: () => number) => void
  /** A value that goes up and down, read when it is asked for. */
  readonly gauge: (name: string, help: string, read: () => number) => void
  /** The same with one label. What has no value yet is left out. */
  readonly gauges: (name: string, help: string, label: string, read: () => Readonly<Record<string, number>>) => void
  readonly histogram: <Name extends string>(
    name: string,
    help: string,
    options: { readonly labels: readonly Name[]; readonly buckets: readonly number[] },
  ) => (labels: Labels<Name>, value: number) => void
}

export function createInstruments(registry: Registry): Instruments {
  const described = (name: string, help: string) => ({ name: `cairn_${name}`, help, registers: [registry] })
  return {
    counter(name, help, values) {
      const labelNames = Object.keys(values) as (keyof typeof values)[]
      const counter = new Counter({ ...described(name, help), labelNames })
      for (const labels of combinations(values)) counter.inc(labels, 0)
      return (labels, by = 1) => counter.inc(labels, by)
    },
    total(name, help, read) {
      const collect = function (this: Counter): void {
        this.reset()
        this.inc(read())
      }
      return void new Counter({ ...described(name, help), collect })
    },
    gauge(name, help, read) {
      const collect = function (this: Gauge): void {
        this.set(read())
      }
      return void new Gauge({ ...described(name, help), collect })
    },
    gauges(name, help, label, read) {
      const collect = function (this: Gauge): void {
        for (const [value, number] of Object.entries(read())) this.set({ [label]: value }, number)
      }
      return void new Gauge({ ...described(name, help), labelNames: [label], collect })
    },
    histogram(name, help, { labels, buckets }) {
      const histogram = new Histogram({ ...described(name, help), labelNames: labels, buckets: [...buckets] })
      return (values, value) => histogram.observe(values, value)
    },
  }
}

function combinations<Name extends string>(values: Readonly<Record<Name, readonly string[]>>): Record<Name, string>[] {
  return Object.entries<readonly string[]>(values).reduce<Record<string, string>[]>(
    (known, [label, choices]) => known.flatMap((labels) => choices.map((value) => ({ ...labels, [label]: value }))),
    [{}],
  ) as Record<Name, string>[]
}
