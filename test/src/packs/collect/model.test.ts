/** Pushes, deletions, folds, collections, purges, copies, what dies in the middle of them and what comes in between, against models of sets. */
import t from 'tap'
import { openDomain } from '../../../support/domain.js'
import { diceOf } from '../../../support/dice.js'
import { addCounts, HubModel } from '../../../support/hub-model.js'

const steps = Number(process.env['CAIRN_TEST_MODEL_STEPS'] ?? 3_000)
/** A repository of their own for each: what is known of one grows with every push. */
const stepsPerRepository = 500

t.test(`${steps} steps: nothing that a ref leads to is ever lost`, async (t) => {
  const domain = await openDomain(t)
  const counts: Record<string, number> = {}
  for (let done = 0; done < steps; done += stepsPerRepository) {
    const seed = 20_261_126 + done
    const model = await HubModel.create(domain, `model-${done}`, diceOf(seed))
    for (let step = 0; step < Math.min(stepsPerRepository, steps - done); step++) {
      try {
        await model.step()
        if (step % 100 === 99) await model.checkAll()
      } catch (error) {
        t.fail(`seed ${seed}, step ${step}: ${(error as Error).stack}`)
        return
      }
    }
    addCounts(counts, model.counts)
  }
  t.comment(JSON.stringify(counts))
  for (const what of [
    'pushed',
    'refused',
    'aborted',
    'moved',
    'deleted',
    'folded',
    'collected',
    'raced, collected',
    'raced, moved-on',
    'died',
    'rows removed',
    'copied',
    'copied, raced',
    'shared',
    'purged',
    'ended',
    'blobs deleted',
  ])
    t.ok(counts[what]! > 0, what)
})
