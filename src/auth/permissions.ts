/** What there is to be allowed. The list is closed: roles and tokens map to it, routes name one of it. */
export const permissions = [
  'repo.see', // that it exists, and what it is called
  'content.read',
  'content.write',
  'discussion.write',
  'repo.settings',
  'repo.delete',
  'namespace.create', // a repository in a namespace
  'hub.admin',
] as const

export type Permission = (typeof permissions)[number]
