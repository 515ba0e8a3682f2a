/** A statement and its values, `$1…$n` in the order of the text. With a name it is prepared once a connection. */
export interface Sql {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name?: string
}

class Fragment implements Sql {
  readonly strings: readonly string[]
  readonly parameters: readonly unknown[]
  #rendered: { readonly text: string; readonly values: readonly unknown[] } | undefined
  constructor(strings: readonly string[], parameters: readonly unknown[]) {
    this.strings = strings
    this.parameters = parameters
  }
  get text(): string {
    return this.#render().text
  }
  get values(): readonly unknown[] {
    return this.#render().values
  }
  #render(): { readonly text: string; readonly values: readonly unknown[] } {
    return (this.#rendered ??= this.#write())
  }
  #write(): { text: string; values: unknown[] } {
    const values: unknown[] = []
    const write = (fragment: Fragment): string =>
      fragment.strings.reduce((text, string, i) => {
        const value = fragment.parameters[i - 1]
        return text + (value instanceof Fragment ? write(value) : `$${values.push(value)}`) + string
      })
    const text = write(this)
    return { text, values }
  }
}

/**
 * SQL with its values apart: `` sql`SELECT ${x}` `` sends `SELECT $1`. A value that is itself `sql` is put in as text, its values with it.
 * An array is one value: `= ANY (${names}::text[])`.
 */
export function sql(strings: TemplateStringsArray, ...parameters: readonly unknown[]): Sql {
  return new Fragment([...strings], parameters)
}

/** The same statement, prepared under a name. A name stands for one text, for good. */
export function named(name: string, statement: Sql): Sql {
  return { name, text: statement.text, values: statement.values }
}

/** The database's clock, `ms` milliseconds ago. */
export const ago = (ms: number): Sql => sql`now() - ${ms}::float8 * interval '1 millisecond'`
