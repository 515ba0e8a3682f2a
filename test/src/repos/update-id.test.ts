import t from 'tap'
import { createUpdateId } from '../../../src/repos/update-id.js'

t.test('is a UUID of version 7 with the time in front', async (t) => {
  t.match(createUpdateId(0x0123456789ab), /^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.match(createUpdateId(0), /^00000000-0000-7/)
  const [before, id, after] = [Date.now(), createUpdateId(), Date.now()]
  const at = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
  t.ok(at >= before && at <= after)
})

t.test('later ones sort behind, and no two are the same', async (t) => {
  const ids = Array.from({ length: 1000 }, (_, i) => createUpdateId(1_700_000_000_000 + i))
  t.same(ids.toSorted(), ids)
  t.equal(new Set(Array.from({ length: 10_000 }, () => createUpdateId(1))).size, 10_000)
})
