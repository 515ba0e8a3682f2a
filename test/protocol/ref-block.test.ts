import t from 'tap'
import { listRefs } from '../../protocol/ls-refs.js'
import { firstBlockFrom, RefBlock } from '../../protocol/ref-block.js'
import { advertiseReceivePack } from '../../protocol/receive-pack.js'
import type { Ref, RefName } from '../../protocol/types.js'
import { advertiseUploadPack } from '../../protocol/upload-pack.js'
import { diceOf } from '../support/dice.js'
import { oidOf, refOf, refTable, wireText } from '../support/wire.js'

const [a, b] = [oidOf('a'), oidOf('b')]
/** 48 bytes: the blank before it stands where ` peeled:` of a shorter one would. */
const long = `refs/tags/${'x'.repeat(38)}`
const refs = [refOf('refs/heads/\xe9', a), refOf('refs/tags/v1', b, a), refOf(long, a), refOf(`${long}y`, b, a)]

t.test('keeps refs as the lines of ls-refs, and reads them back', async (t) => {
  const [block, ...others] = RefBlock.of(refs, 4)
  t.same(others, [])
  t.equal(
    block!.lines.toString('latin1'),
    `003a${a} refs/heads/\xe9\n006a${b} refs/tags/v1 peeled:${a}\n005e${a} ${long}\n008f${b} ${long}y peeled:${a}\n`,
  )
  t.same(block!.refs, refs)
  t.same([block!.count, block!.first, block!.last], [4, 'refs/heads/\xe9', `${long}y`])
  t.same(new RefBlock(block!.lines.buffer).refs, refs, 'another thread reads the same')
  t.equal(block!.linesOf(true), block!.lines, 'nothing is made anew')
  t.equal(block!.linesOf(false, 1, 3).toString('latin1'), `003a${b} refs/tags/v1\n005e${a} ${long}\n`)
  t.equal(block!.linesOf(true, 1, 2).toString('latin1'), `006a${b} refs/tags/v1 peeled:${a}\n`)
  t.equal(
    block!.linesV0().toString('latin1'),
    `003a${a} refs/heads/\xe9\n003a${b} refs/tags/v1\n003d${a} refs/tags/v1^{}\n005e${a} ${long}\n005f${b} ${long}y\n0062${a} ${long}y^{}\n`,
  )
})

t.test('blocks without tags that peel are sent as they stand, whoever asks', async (t) => {
  const blocks = RefBlock.of([refs[0]!, refs[2]!, refs[1]!], 2)
  t.same(
    blocks.map(({ count }) => count),
    [2, 1],
  )
  t.equal(blocks[0]!.linesOf(false), blocks[0]!.lines)
  t.equal(blocks[0]!.linesV0(), blocks[0]!.lines)
  t.not(blocks[1]!.linesOf(false), blocks[1]!.lines)
  t.same(RefBlock.of([], 2), [])
})

t.test('a name that no pkt-line holds is too large', async (t) => {
  t.throws(() => RefBlock.of([refOf('r'.repeat(65_475), a)], 1), { code: 'too-large', message: 'pkt-line payload of 65517 bytes is over 65516' })
})

t.test('the block of a name is found', async (t) => {
  const blocks = RefBlock.of(
    ['b', 'd', 'f', 'h', 'j'].map((name) => refOf(name, a)),
    2,
  )
  t.same(
    ['a', 'b', 'd', 'e', 'f', 'i', 'j', 'k'].map((name) => firstBlockFrom(blocks, name)),
    [0, 0, 0, 1, 1, 2, 2, 3],
  )
  t.equal(firstBlockFrom([], 'a'), 0)
})

t.test('answers are the same bytes however refs lie in blocks', async (t) => {
  const pick = diceOf(7)
  for (let round = 0; round < 300; round++) {
    const names = new Set(
      Array.from({ length: pick(30) }, () => `refs/${['heads', 'pr', 'tags'][pick(3)]}/${['', 'a', 'b/', 'bc'][pick(4)]}${pick(40)}`),
    )
    const list = [...names].toSorted().map((name) => refOf(name, [a, b][pick(2)]!, pick(3) === 0 ? a : undefined))
    const table = { ...refTable(list, pick(2) === 0 ? 'refs/heads/1' : (list[0]?.name ?? 'refs/heads/a')), blocks: RefBlock.of(list, 1 + pick(7)) }
    const [peel, symrefs] = [pick(2) === 0, pick(2) === 0]
    const prefixes = Array.from(
      { length: pick(4) },
      () => ['', 'H', 'refs/', 'refs/heads/', 'refs/heads/a', 'refs/pr/b/1', 'refs/tags/', 'x'][pick(8)]!,
    )
    t.equal(await wireText(listRefs(table, { peel, symrefs, unborn: false, prefixes })), plainAnswer(list, table.head, { peel, symrefs, prefixes }))
    t.equal(lastLines(await wireText(advertiseReceivePack(table))), list.map(({ name, oid }) => pkt(`${oid} ${name}`)).join(''))
    t.equal(
      lastLines(await wireText(advertiseUploadPack(table, 0))),
      list.map(({ name, oid, peeled }) => pkt(`${oid} ${name}`) + (peeled ? pkt(`${peeled} ${name}^{}`) : '')).join(''),
    )
  }
})

const pkt = (line: string): string => `${(line.length + 5).toString(16).padStart(4, '0')}${line}\n`

/** As a list of lines that is looked through from end to end. */
function plainAnswer(list: readonly Ref[], head: RefName, asked: { peel: boolean; symrefs: boolean; prefixes: readonly string[] }): string {
  const { peel, symrefs, prefixes } = asked
  const isAsked = (name: string): boolean => prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix))
  const peeledOf = ({ peeled }: Ref): string => (peel && peeled ? ` peeled:${peeled}` : '')
  const target = list.find(({ name }) => name === head)
  const first = target && isAsked('HEAD') ? pkt(`${target.oid} HEAD${symrefs ? ` symref-target:${head}` : ''}${peeledOf(target)}`) : ''
  const rest = list.filter(({ name }) => isAsked(name)).map((ref) => pkt(`${ref.oid} ${ref.name}${peeledOf(ref)}`))
  return `${first}${rest.join('')}0000`
}

/** An advertisement without its header, its capabilities, HEAD and the flush. */
function lastLines(wire: string): string {
  const body = wire.slice(wire.indexOf('\n0000') + 5, -4)
  const firstLength = Number.parseInt(body.slice(0, 4), 16)
  const [line = ''] = body.slice(4, firstLength).split('\0')
  const isRef = !line.endsWith(' HEAD') && !line.endsWith(' capabilities^{}')
  return (isRef ? pkt(line) : '') + body.slice(firstLength)
}
