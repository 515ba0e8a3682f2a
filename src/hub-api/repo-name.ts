/**
 * Namespace and name out of the `name` and `organization` of a call. Some clients put the whole id where the name belongs.
 * `own`: whose it is when nobody is named.
 */
export function namespaceAndName(name: string, organization: string | null | undefined, own: string): readonly [namespace: string, name: string] {
  const slash = name.indexOf('/')
  return slash === -1 ? [organization ?? own, name] : [name.slice(0, slash), name.slice(slash + 1)]
}
