import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { takeDataLock } from '../../../src/db/data-lock.js'

const module = new URL('../../../src/db/data-lock.js', import.meta.url).href

t.test('one at a time: a second taker is refused, and let in once the first has released', async (t) => {
  const folder = join(t.testdir(), 'data')
  const lock = takeDataLock(folder)
  t.throws(() => takeDataLock(folder), { code: 'config', message: /another hub is using .*CAIRN_DATA/ })
  lock.release()
  lock.release()
  takeDataLock(folder).release()
  t.equal(statSync(folder).mode & 0o066, 0, 'nobody else looks in')
})

t.test('the kernel lets go of it with its process, however that ends', async (t) => {
  const folder = join(t.testdir(), 'data')
  const script = `import { takeDataLock } from ${JSON.stringify(module)}; takeDataLock(${JSON.stringify(folder)}); console.log('held'); setInterval(() => {}, 1000)`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  t.throws(() => takeDataLock(folder), { code: 'config' })
  const exited = once(holder, 'exit')
  holder.kill('SIGKILL')
  await exited
  takeDataLock(folder).release()
})

t.test('a folder that cannot be used is named', async (t) => {
  const file = join(t.testdir({ file: 'x' }), 'file')
  t.throws(() => takeDataLock(join(file, 'data')), { code: 'config', message: /cannot use the data directory .*CAIRN_DATA/ })
})
