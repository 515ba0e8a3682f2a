/**
 * Names that can never be namespaces: what the hub serves, or will, stands at these first parts of a path. One list, compared without case.
 */
export const reservedNames: ReadonlySet<string> = new Set([
  'api',
  'xet',
  'models',
  'datasets',
  'spaces',
  'kernels',
  'buckets',
  'collections',
  'papers',
  'posts',
  'tasks',
  'jobs',
  'blog',
  'docs',
  'healthz',
  'readyz',
  'metrics',
  'status',
  'assets',
  'static',
  'front',
  'avatars',
  'icons',
  'favicon.ico',
  'robots.txt',
  'sitemap.xml',
  'login',
  'logout',
  'join',
  'signup',
  'sign-in',
  'sign-out',
  'oauth',
  'settings',
  'new',
  'new-dataset',
  'new-space',
  'notifications',
  'search',
  'explore',
  'organizations',
  'orgs',
  'users',
  'teams',
  'enterprise',
  'pricing',
  'support',
  'help',
  'about',
  'terms',
  'privacy',
  'account',
  'billing',
  'activity',
  'inbox',
  'chat',
  'embed',
  'resolve',
  'raw',
  'lfs',
  'git',
  'cairn',
  'hub',
  'www',
  'well-known',
  'anonymous',
])

const maxNameLength = 96
/** Letters, digits, `-`, `_`, `.`, and the first and last of them no dash and no dot: what every Hub client lets through. */
const shape = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?$/

function complainAbout(name: string, what: string): string | undefined {
  if (name === '') return `${what} is empty`
  if (name.length > maxNameLength) return `${what} has ${name.length} characters, over ${maxNameLength}`
  if (!shape.test(name)) return `${what} may have letters, digits, '-', '_' and '.', and neither begin nor end with '-' or '.'`
  if (name.includes('--') || name.includes('..')) return `${what} must not have '--' or '..'`
  return undefined
}

/** Why this cannot be the name of a user or organisation; undefined: it can. */
export function namespaceNameComplaint(name: string): string | undefined {
  if (reservedNames.has(name.toLowerCase())) return `the name '${name}' is reserved`
  return complainAbout(name, 'a namespace name')
}

/** Why this cannot be the name of a repository; undefined: it can. `.git` is what git adds to a name. */
export function repoNameComplaint(name: string): string | undefined {
  if (/\.(git|ipynb)$/i.test(name)) return `a repository name must not end in '.git' or '.ipynb'`
  return complainAbout(name, 'a repository name')
}
