import t from 'tap'
import { parseLimit, parseLockRequest, parseUnlock, parseVerifyLocks, wireLock } from '../../lfs/locks.js'
import { parseVerify } from '../../lfs/verify.js'

t.test('a lock on the wire', async (t) => {
  const lock = { id: 'x', path: 'a/b', lockedAt: new Date('2026-01-02T03:04:05.678Z'), owner: { id: 7, name: 'alice' } }
  t.same(wireLock(lock), { id: 'x', path: 'a/b', locked_at: '2026-01-02T03:04:05Z', owner: { name: 'alice' } })
})

t.test('requests, with what clients leave out', async (t) => {
  t.same(parseLockRequest({ path: 'a', ref: { name: 'refs/heads/main' } }), { path: 'a' })
  t.same(parseVerifyLocks({}), { cursor: undefined, limit: undefined })
  t.same(parseVerifyLocks({ ref: null, cursor: '', limit: 0 }), { cursor: undefined, limit: undefined })
  t.same(parseVerifyLocks({ cursor: 'c', limit: 5 }), { cursor: 'c', limit: 5 })
  t.same(parseUnlock({}), { force: false })
  t.same(parseUnlock({ force: null }), { force: false })
  t.same(parseUnlock({ force: true, ref: {} }), { force: true })
  t.same([undefined, null, '', 0, '0', 3, '3'].map(parseLimit), [undefined, undefined, undefined, undefined, undefined, 3, 3])
  t.same(parseVerify({ oid: 'a'.repeat(64), size: 0 }), { oid: 'a'.repeat(64), size: 0 })
})

t.test('what is none of them', async (t) => {
  for (const body of [null, [], 'x', {}, { path: 5 }, { path: null }]) t.throws(() => parseLockRequest(body), { code: 'bad-body' })
  for (const body of [null, [], { cursor: 5 }, { limit: -1 }, { limit: 1.5 }, { limit: 'many' }]) {
    t.throws(() => parseVerifyLocks(body), { code: 'bad-body' }, JSON.stringify(body))
  }
  for (const body of [null, { force: 'yes' }, { force: 1 }]) t.throws(() => parseUnlock(body), { code: 'bad-body' })
  t.throws(() => parseVerify({ oid: 'A'.repeat(64), size: 1 }), { code: 'bad-oid' })
  for (const size of [-1, 1.5, '1', null, 2 ** 53]) t.throws(() => parseVerify({ oid: 'a'.repeat(64), size }), { code: 'bad-size' })
  t.throws(() => parseVerify({ size: 1 }), { code: 'bad-body' })
})
