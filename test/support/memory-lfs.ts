import { createSignedLinks } from '../../src/auth/signed-links.js'
import type { LinkClaims } from '../../src/lfs-http/links.js'
import type { LfsHttpOptions } from '../../src/lfs-http/plugin.js'

/** A git-lfs door behind which there is nothing yet: every object has to be sent, and nothing is locked. */
export const createMemoryLfs = (): LfsHttpOptions => ({
  largeFiles: {
    find: async () => new Map(),
    claim: async () => new Map(),
    reserve: async ({ objects }) => new Map(objects.map(({ oid }) => [oid, 'reserved'])),
    receive: () => Promise.reject(new Error('no bytes here')),
    open: () => Promise.reject(new Error('no bytes here')),
  },
  locks: {
    create: async (_repoId, path, ownerId) => ({
      created: true,
      lock: { id: 'lock', path, owner: { id: ownerId, name: 'someone' }, lockedAt: new Date('2026-01-02T03:04:05.678Z') },
    }),
    list: async () => ({ locks: [], nextCursor: undefined }),
    find: async () => undefined,
    remove: async () => undefined,
  },
  links: createSignedLinks<LinkClaims>(
    { sign: async () => 'kid.mac', verify: async (_purpose, _text, signature) => signature === 'kid.mac' },
    'lfs-link',
  ),
})
