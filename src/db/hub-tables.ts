import { HubError } from '../errors.js'
import { sealedState } from './database-errors.js'
import type { Queryable, Transaction } from './pool.js'
import { sql, type Sql } from './sql.js'

/*
 * The tables of the hub as the catalogue names them, so that one that a later release adds is moved like the others.
 */

/** A table, its columns in order, and the sequences that number them. */
export interface HubTable {
  readonly name: string
  readonly columns: readonly string[]
  readonly sequences: readonly string[]
}

/** What a database says of itself, and not of the hub's data. */
const ownTables = ['schema_migrations', 'hub_store', 'hub_move', 'moved_blob']

const raw = (text: string): Sql => ({ text, values: [] })
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** Of all tables there are, whoever made them. */
export async function listTableNames(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ name: string }>(sql`
    SELECT relname AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') ORDER BY relname`)
  return rows.map(({ name }) => name)
}

/** All tables of the hub's data, each after those that its rows refer to. */
export async function listHubTables(db: Queryable): Promise<HubTable[]> {
  const tables = await db.query<HubTable>(sql`
    SELECT c.relname AS name,
      array_agg(a.attname::text ORDER BY a.attname) AS columns,
      array_remove(array_agg(pg_get_serial_sequence(format('%I.%I', current_schema(), c.relname), a.attname) ORDER BY a.attname), NULL) AS sequences
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> ALL (${ownTables}::text[])
    GROUP BY c.relname ORDER BY c.relname`)
  const references = await db.query<{ name: string; needs: string }>(sql`
    SELECT DISTINCT c.relname AS name, n.relname AS needs
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class n ON n.oid = k.confrelid
    WHERE k.contype = 'f' AND c.oid <> n.oid AND c.relnamespace = current_schema()::regnamespace`)
  return inOrder(tables, references)
}

function inOrder(tables: readonly HubTable[], references: readonly { readonly name: string; readonly needs: string }[]): HubTable[] {
  const ordered: HubTable[] = []
  const left = new Map(tables.map((table) => [table.name, table]))
  while (left.size > 0) {
    const ready = [...left.values()].filter(({ name }) => !references.some((reference) => reference.name === name && left.has(reference.needs)))
    if (ready.length === 0) throw new Error(`tables refer to each other in a circle: ${[...left.keys()].join(', ')}`)
    for (const table of ready) left.delete(table.name)
    ordered.push(...ready)
  }
  return ordered
}

/** The first of the tables that has a row. */
export async function findFilledTable(db: Queryable, tables: readonly HubTable[]): Promise<string | undefined> {
  for (const { name } of tables) if ((await db.query(raw(`SELECT FROM ${quoted(name)} LIMIT 1`))).length > 0) return name
  return undefined
}

/**
 * Begins a transaction that keeps everybody from changing the tables until it ends, and sees all that was committed before. Who reads is not kept.
 * When it throws the transaction has to be rolled back. In one message: what it sees is settled by the first statement that reads, and nothing may
 * come between.
 */
export async function beginLocked(session: Queryable, tables: readonly HubTable[], lockTimeoutMs: number): Promise<void> {
  const names = tables.map(({ name }) => `ONLY ${quoted(name)}`).join(', ')
  const lock = `LOCK TABLE ${names} IN SHARE ROW EXCLUSIVE MODE`
  await session.execute(raw(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = ${lockTimeoutMs}; ${lock}; SET LOCAL lock_timeout = 0`))
}

export async function emptyTables(tx: Transaction, tables: readonly HubTable[]): Promise<void> {
  await tx.execute(raw(`TRUNCATE ${tables.map(({ name }) => quoted(name)).join(', ')}`))
}

export const copyOutOf = ({ name, columns }: HubTable): string => `COPY ${quoted(name)} (${columns.map(quoted).join(', ')}) TO STDOUT`
export const copyInto = ({ name, columns }: HubTable): string => `COPY ${quoted(name)} (${columns.map(quoted).join(', ')}) FROM STDIN`

/** What a table holds, whatever the order: the number of rows, and the sum of what their SHA-256 begin with. Both sessions must print alike. */
export interface TableSum {
  readonly rows: number
  readonly sum: string
}

export async function sumTable(db: Queryable, { name, columns }: HubTable): Promise<TableSum> {
  const row = `ROW(${columns.map((column) => `t.${quoted(column)}`).join(', ')})::text`
  const [found] = await db.query<TableSum>(
    raw(`
    SELECT count(*) AS rows, coalesce(sum(('x' || encode(substr(sha256(convert_to(${row}, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint), 0)::text AS sum
    FROM ${quoted(name)} t`),
  )
  return found!
}

export interface SequenceState {
  readonly lastValue: number
  readonly isCalled: boolean
}

/** `sequence` as the catalogue writes it, quoted where it must be. */
export async function readSequence(db: Queryable, sequence: string): Promise<SequenceState> {
  const [row] = await db.query<SequenceState>(raw(`SELECT last_value AS "lastValue", is_called AS "isCalled" FROM ${sequence}`))
  return row!
}

export async function setSequence(db: Queryable, sequence: string, { lastValue, isCalled }: SequenceState): Promise<void> {
  await db.query(sql`SELECT setval(${sequence}::regclass, ${lastValue}, ${isCalled})`)
}

const sealName = 'cairn_sealed'

/** From this transaction's end on the tables can be read and not changed, by whoever it is. The tables are locked. */
export async function sealTables(tx: Transaction, tables: readonly HubTable[]): Promise<void> {
  await tx.execute(
    raw(`
    CREATE OR REPLACE FUNCTION ${sealName}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'the data of this hub was moved' USING ERRCODE = '${sealedState}';
    END $$`),
  )
  for (const { name } of tables) {
    await tx.execute(
      raw(`
      CREATE TRIGGER ${sealName} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${quoted(name)}
      FOR EACH STATEMENT EXECUTE FUNCTION ${sealName}()`),
    )
  }
}

export async function unsealTables(tx: Transaction): Promise<void> {
  await tx.execute(raw(`DROP FUNCTION IF EXISTS ${sealName} CASCADE`))
}

/**
 * The tables of the hub, given those of a database that is in use and of one that was just made. `foreign`: what somebody else put in the first.
 * @throws HubError `config` when the other one has a table that the first does not have
 */
export function compareTables(
  used: readonly HubTable[],
  made: readonly HubTable[],
): { readonly tables: readonly HubTable[]; readonly foreign: readonly string[] } {
  const describe = ({ name, columns }: HubTable) => `${name} (${columns.join(', ')})`
  const known = new Set(used.map(describe))
  const other = made.find((table) => !known.has(describe(table)))
  if (other)
    throw new HubError('config', `the target's database has a table ${describe(other)}, and the source's has not: it must be for this hub alone`)
  const names = new Set(made.map(({ name }) => name))
  return { tables: made, foreign: used.filter(({ name }) => !names.has(name)).map(({ name }) => name) }
}
