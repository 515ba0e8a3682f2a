/**
 * Preloaded into a hub (`node --import`) by fault tests: kills the hub or its database, or cuts the connection, at a named
 * point of an update. Nothing of it is in the hub itself: it watches the statements that `pg` sends.
 *
 * CAIRN_TEST_FAULT names a file; while it holds `<point> <victim>`, the next update meets that fault, once.
 * Points: `after-blob` (bytes are stored, the transaction begins), `before-commit`, `at-commit` (COMMIT is sent, its answer never
 * read), `after-commit` (committed, not yet reported). Victims: `hub`, `database`, `connection`.
 */
import { readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'

const faultFile = process.env['CAIRN_TEST_FAULT']!
const dataDirectory = process.env['CAIRN_DATA']!

interface Sent {
  readonly stream: { destroy(): void }
}
interface PatchedClient {
  updating?: boolean
  connection: Sent
}

function planned(point: string): string | undefined {
  let text: string
  try {
    text = readFileSync(faultFile, 'utf8').trim()
  } catch {
    return undefined
  }
  const [where, victim] = text.split(' ')
  if (where !== point) return undefined
  unlinkSync(faultFile)
  return victim
}

function strike(victim: string, client: PatchedClient): void {
  if (victim === 'hub') process.kill(process.pid, 'SIGKILL')
  if (victim === 'connection') client.connection.stream.destroy()
  if (victim === 'database') process.kill(postmasterPid(), 'SIGKILL')
}

function postmasterPid(): number {
  return Number(readFileSync(join(dataDirectory, process.env['CAIRN_TEST_PGDATA'] ?? 'postgres/data', 'postmaster.pid'), 'utf8').split('\n')[0])
}

const original = pg.Client.prototype.query as unknown as (this: PatchedClient, ...args: unknown[]) => unknown

function query(this: PatchedClient, ...args: unknown[]): unknown {
  const first = args[0]
  const text = typeof first === 'string' ? first : ((first as { text?: string } | undefined)?.text ?? '')
  if (text.includes('FOR NO KEY UPDATE')) {
    this.updating = true
    const victim = planned('after-blob')
    if (victim) strike(victim, this)
  }
  if (!/^\s*COMMIT/i.test(text) || !this.updating) return original.apply(this, args)
  this.updating = false
  const before = planned('before-commit')
  if (before) strike(before, this)
  const result = original.apply(this, args)
  const during = planned('at-commit')
  // Let the statement reach the wire first.
  if (during) setTimeout(() => strike(during, this), during === 'connection' ? 0 : 1)
  const after = planned('after-commit')
  if (after && result instanceof Promise) {
    return result.then((value: unknown) => {
      strike(after, this)
      return value
    })
  }
  return result
}

pg.Client.prototype.query = query as unknown as typeof pg.Client.prototype.query
