import t from 'tap'
import { actorOf, anonymous, type Actor } from '../../../src/auth/actor.js'
import { readCredentials } from '../../../src/auth/authenticate.js'
import { isHubAdmin, may, mayInNamespace, mayManageTokens, type AccessSubject } from '../../../src/auth/authorize.js'
import { namespaceNameComplaint, repoNameComplaint, reservedNames } from '../../../src/auth/names.js'
import { permissions } from '../../../src/auth/permissions.js'
import { createToken, hashToken } from '../../../src/auth/tokens.js'

const owner = 7

function somebody(id: number, role: 'read' | 'write' | 'fine-grained', isAdmin = false, kind: 'user' | 'organisation' | 'service' = 'user'): Actor {
  return actorOf({
    id,
    kind,
    name: `u${id}`,
    fullName: null,
    email: null,
    isAdmin,
    accessVer: 1,
    token: { id: 1, name: 't', role, createdAt: new Date(0), expiresAt: null },
  })
}

const actors: Record<string, Actor> = {
  anonymous,
  stranger: somebody(8, 'write'),
  fine: somebody(owner, 'fine-grained'),
  reader: somebody(owner, 'read'),
  owner: somebody(owner, 'write'),
  adminReader: somebody(1, 'read', true),
  admin: somebody(1, 'write', true),
}
const plain: AccessSubject = { namespaceId: owner, visibility: 'public', gated: null, disabled: false }
const subjects: Record<string, AccessSubject> = {
  public: plain,
  private: { ...plain, visibility: 'private' },
  gated: { ...plain, gated: 'auto' },
  disabled: { ...plain, disabled: true },
}

t.test('who may what: every actor, every kind of repository, every permission', async (t) => {
  // One letter a permission: see, read, write, discuss, settings, delete, create in namespace, admin of the hub
  const letters = 'srwdtxcA'
  const expected: Record<string, Record<string, string>> = {
    anonymous: { public: 'sr', private: '', gated: 's', disabled: 's' },
    stranger: { public: 'srd', private: '', gated: 's', disabled: 's' },
    fine: { public: 'sr', private: '', gated: 's', disabled: 's' },
    reader: { public: 'sr', private: 'sr', gated: 'sr', disabled: 's' },
    owner: { public: 'srwdtxc', private: 'srwdtxc', gated: 'srwdtxc', disabled: 'stxc' },
    adminReader: { public: 'sr', private: 'sr', gated: 'sr', disabled: 'sr' },
    admin: { public: letters, private: letters, gated: letters, disabled: letters },
  }
  t.same(permissions, [
    'repo.see',
    'content.read',
    'content.write',
    'discussion.write',
    'repo.settings',
    'repo.delete',
    'namespace.create',
    'hub.admin',
  ])
  for (const [who, rows] of Object.entries(expected)) {
    for (const [what, row] of Object.entries(rows)) {
      t.equal(
        permissions
          .filter((permission) => may(actors[who]!, subjects[what]!, permission))
          .map((permission) => letters[permissions.indexOf(permission)])
          .join(''),
        row,
        `${who} × ${what}`,
      )
    }
  }
})

t.test('namespaces, the hub, and tokens of others', async (t) => {
  const allowed = (test: (actor: Actor) => boolean) => Object.keys(actors).filter((name) => test(actors[name]!))
  t.same(
    allowed((actor) => mayInNamespace(actor, owner, 'namespace.create')),
    ['owner', 'admin'],
  )
  t.same(
    allowed((actor) => mayInNamespace(actor, 99, 'namespace.create')),
    ['admin'],
  )
  t.same(allowed(isHubAdmin), ['admin'])
  t.same(
    allowed((actor) => mayManageTokens(actor, owner)),
    ['owner', 'admin'],
  )
})

t.test("an organisation's token is a service, not somebody", async (t) => {
  t.equal(somebody(3, 'write', false, 'organisation').kind, 'service')
  t.equal(somebody(3, 'write', false, 'service').kind, 'service')
  t.equal(somebody(3, 'write').kind, 'user')
})

t.test('credentials', async (t) => {
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
  t.same(readCredentials(undefined), { kind: 'none' })
  const token = { kind: 'token', hash: hashToken('hf_x') }
  for (const header of ['Bearer hf_x', 'bearer hf_x', basic('anybody:hf_x'), basic(':hf_x'), `basic ${Buffer.from('u:hf_x').toString('base64')}`]) {
    t.same(readCredentials(header), token, header)
  }
  t.same(readCredentials(basic('u:a:b')), { kind: 'token', hash: hashToken('a:b') }, 'only the first colon parts')
  for (const header of [
    '',
    'hf_x',
    'Bearer',
    'Bearer  ',
    'Bearer a b',
    'Negotiate abc',
    basic('hf_x'),
    basic('u:'),
    'Basic',
    `Bearer ${'a'.repeat(513)}`,
  ]) {
    t.same(readCredentials(header), { kind: 'unusable' }, JSON.stringify(header))
  }
})

t.test('tokens are what clients accept, and never twice the same', async (t) => {
  const tokens = Array.from({ length: 200 }, createToken)
  for (const token of tokens) t.match(token, /^hf_[A-Za-z0-9]{37}$/)
  t.equal(new Set(tokens).size, 200)
  t.equal(hashToken('hf_x').toString('hex'), 'f5618cd8b98c85c7aa86b0a7296d3fc33aaa88faabc75c3ae724b17b59c96f38')
})

t.test('names', async (t) => {
  for (const name of ['admin', 'alice', 'A', 'a.b', 'a-b_c', '0x', '_x', 'x'.repeat(96)]) t.equal(namespaceNameComplaint(name), undefined, name)
  for (const name of [
    '',
    'api',
    'Datasets',
    'spaces',
    'healthz',
    'settings',
    '-a',
    'a-',
    '.a',
    'a.',
    'a..b',
    'a--b',
    'a/b',
    'a b',
    'x'.repeat(97),
    'ä',
  ]) {
    t.type(namespaceNameComplaint(name), 'string', name)
  }
  t.equal(repoNameComplaint('api'), undefined, 'a repository may be called what a namespace may not')
  for (const name of ['x.git', 'x.GIT', 'x.ipynb', '', 'a/b']) t.type(repoNameComplaint(name), 'string', name)
  for (const name of reservedNames) t.equal(name, name.toLowerCase())
})
