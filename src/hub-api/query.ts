/** Values of a key that may be repeated, written with `[]`, or be a list with commas. */
export function listOf(query: unknown, key: string): readonly string[] {
  const values = query as Readonly<Record<string, string | readonly string[] | undefined>>
  return [values[key] ?? [], values[`${key}[]`] ?? []]
    .flat()
    .flatMap((value) => value.split(','))
    .filter((value) => value !== '')
}

/** `true`, `True` and `1` are yes; anything else is no. */
export function isTrue(query: unknown, key: string): boolean {
  const value = (query as Readonly<Record<string, unknown>>)[key]
  return typeof value === 'string' && /^(true|1)$/i.test(value)
}
