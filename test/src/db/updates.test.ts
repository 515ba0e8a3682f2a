import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { markDone, settleUnknownUpdate } from '../../../src/db/updates.js'
import { createUpdateId } from '../../../src/repos/update-id.js'
import { openDomain } from '../../support/domain.js'

const domain = await openDomain(t)
const { db } = domain
const repo = await domain.makeRepo('settled')

t.test('an update that was committed is done, whoever asks', async (t) => {
  const id = createUpdateId()
  t.equal(await db.transaction((tx) => markDone(tx, id, repo.id)), true)
  t.equal(await settleUnknownUpdate(db, id), 'done')
  t.equal(await settleUnknownUpdate(db, id), 'done')
})

t.test('an update nobody knows of is abandoned for good: its transaction can never be committed', async (t) => {
  const id = createUpdateId()
  t.equal(await settleUnknownUpdate(db, id), 'abandoned')
  t.equal(await db.transaction((tx) => markDone(tx, id, repo.id)), false)
  t.equal(await settleUnknownUpdate(db, id), 'abandoned')
})

t.test('while the old transaction lives its end is waited for, whichever it is', async (t) => {
  for (const [end, outcome] of [
    ['COMMIT', 'done'],
    ['ROLLBACK', 'abandoned'],
  ] as const) {
    const id = createUpdateId()
    const old = await db.direct()
    await old.execute(sql`BEGIN`)
    t.equal(await markDone(old, id, repo.id), true)
    let settled: string | undefined
    const asked = settleUnknownUpdate(db, id).then((answer) => {
      settled = answer
    })
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.equal(settled, undefined, 'nobody knows yet')
    await old.execute({ text: end, values: [] })
    await asked
    t.equal(settled, outcome)
    await old.close()
  }
})
