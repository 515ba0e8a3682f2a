import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { testDatabase } from '../support/postgres.js'
import { becomes } from '../support/becomes.js'

t.test('what a killed hub was doing is done by another', async (t) => {
  const { connection } = await testDatabase(t)
  const file = join(t.testdir({ log: '' }), 'log')
  const children: ChildProcess[] = []
  t.teardown(() => children.forEach((child) => child.kill('SIGKILL')))
  const start = (name: string): ChildProcess => {
    const script = join(import.meta.dirname, '../support/jobs-hub.js')
    const child = spawn(process.execPath, [script, JSON.stringify(connection), file, name], { stdio: 'inherit' })
    children.push(child)
    return child
  }
  const lines = async () => (await readFile(file, 'utf8')).trim().split('\n')
  const first = start('first')
  t.ok(await becomes(async () => (await lines()).includes('first begins')))
  start('quick')
  t.ok(await becomes(async () => (await lines()).includes('quick is up')))
  // Longer than a hub may be silent: this one is not.
  await delay(12_000)
  t.notOk((await lines()).includes('quick begins'), 'not while the first lives')
  const killed = once(first, 'exit')
  first.kill('SIGKILL')
  await killed
  t.ok(await becomes(async () => (await lines()).includes('quick ends'), 30_000))
  t.notOk((await lines()).includes('first ends'))
})
