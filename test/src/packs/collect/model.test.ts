/** Pushes, deletions, folds, collections, what dies in the middle of them and what comes in between, against a model of sets. */
import t from 'tap'
import { openDomain } from '../../../support/domain.js'
import { PackModel } from '../../../support/pack-model.js'
import { diceOf } from '../../../support/dice.js'

const steps = Number(process.env['CAIRN_TEST_MODEL_STEPS'] ?? 3_000)
/** A repository of its own for each: what is known of one grows with every push. */
const stepsPerRepository = 500

t.test(`${steps} steps: nothing that a ref leads to is ever lost`, async (t) => {
  const domain = await openDomain(t)
  const counts: Record<string, number> = {}
  for (let done = 0; done < steps; done += stepsPerRepository) {
    const seed = 20_261_126 + done
    const model = new PackModel(domain, await domain.makeRepo(`model-${done}`), diceOf(seed))
    for (let step = 0; step < Math.min(stepsPerRepository, steps - done); step++) {
      try {
        await model.step()
        await model.check({ bytes: step % 100 === 99 })
      } catch (error) {
        t.fail(`seed ${seed}, step ${step}: ${(error as Error).stack}`)
        return
      }
    }
    for (const [what, times] of Object.entries(model.counts)) counts[what] = (counts[what] ?? 0) + times
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
  ])
    t.ok(counts[what]! > 0, what)
})
