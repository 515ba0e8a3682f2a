import t from 'tap'
import { PriorityQueue } from '../../protocol/priority-queue.js'

t.test('what was put in comes out, lowest key first, however it went in and out', async (t) => {
  const queue = new PriorityQueue<number>()
  const model: number[] = []
  let state = 7
  for (let i = 0; i < 5000; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    if (state % 5 < 3) {
      queue.push(state % 1000, state % 1000)
      model.push(state % 1000)
      model.sort((a, b) => a - b)
    } else if (queue.pop() !== model.shift()) {
      t.fail(`step ${i}`)
    }
    if (queue.size !== model.length || queue.lowestKey !== (model[0] ?? Number.POSITIVE_INFINITY)) t.fail(`step ${i}`)
  }
  t.ok(model.length > 500)
  while (model.length > 0) if (queue.pop() !== model.shift()) t.fail(`${model.length} left`)
  t.equal(queue.size, 0)
})

t.test('an empty queue has nothing', async (t) => {
  const queue = new PriorityQueue<string>()
  t.equal(queue.pop(), undefined)
  t.equal(queue.lowestKey, Number.POSITIVE_INFINITY)
  queue.push(-3, 'a')
  t.equal(queue.lowestKey, -3)
  t.equal(queue.pop(), 'a')
  t.equal(queue.pop(), undefined)
})
