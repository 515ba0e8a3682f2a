import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { enumerateObjects } from '../../../protocol/enumerate.js'
import { writePack } from '../../../protocol/pack/writer.js'
import type { PackRequest, PackView } from '../../../protocol/ports.js'
import { wholePacksOf } from '../../../protocol/whole-packs.js'
import { clientWith, closureIn, oidIn, takeInto } from '../../support/fetches.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { memoryPack, packView } from '../../support/pack-view.js'
import { collect, noSlices } from '../../support/wire.js'

const dir = t.testdir()
const bare = await clientWith(join(dir, 'origin'), dir, [])
await importHistory(bare, 600)
const packOfRevs = async (revs: readonly string[], ...thin: string[]): Promise<Buffer> => {
  const args = ['pack-objects', '-q', '--revs', '--stdout', '--delta-base-offset', ...thin]
  return (await git(args, { cwd: bare, input: Buffer.from(`${revs.join('\n')}\n`) })).stdout
}
const older = memoryPack(await packOfRevs(['main~10']))
const newer = memoryPack(await packOfRevs(['main', '--not', 'main~10']))
const overlapping = memoryPack(await packOfRevs(['main~8', '--not', 'main~14']))
const [tip, earlier] = [await oidIn(bare, 'main'), await oidIn(bare, 'main~20')]
async function answer(view: PackView, asked: Pick<PackRequest, 'wants'> & Partial<PackRequest>): Promise<Buffer> {
  const request = { haves: [], thinPack: false, ofsDelta: true, includeTag: false, ...asked }
  const set = await enumerateObjects(view, request, { slices: noSlices })
  return collect(writePack(view, request, { ...set, whole: wholePacksOf(view, set) }, { slices: noSlices }))
}

const bodyOf = (pack: Buffer): Buffer => pack.subarray(12, -20)

/** What a push of the rest leaves: copies of bases stand at its end. */
async function completed(): Promise<Buffer> {
  const server = await clientWith(join(dir, 'server'), bare, ['main~10'])
  const { stdout } = await git(['index-pack', '--stdin', '--fix-thin'], {
    cwd: server,
    input: await packOfRevs(['main', '--not', 'main~10'], '--thin'),
  })
  return readFileSync(join(server, 'objects', 'pack', `pack-${stdout.toString().trim().split('\t')[1]}.pack`))
}

t.test('a pack of which everything is sent goes out as it stands, and what is sent beside it leans on it', async (t) => {
  const pushed = memoryPack(await completed())
  t.ok(pushed.table.count > newer.table.count, 'with copies')
  const pack = await answer(packView([older, pushed]), { wants: [tip] })
  t.ok(pack.length < older.bytes.length + newer.bytes.length, 'deltas stay deltas')
  t.ok(older.bytes.readUInt32BE(8) > 1_000)
  t.equal(pack.subarray(12, 12 + bodyOf(older.bytes).length).compare(bodyOf(older.bytes)), 0)
  const client = await clientWith(join(dir, 'whole'), bare, [])
  t.same((await takeInto(client, pack, [tip], false)).toSorted(), await closureIn(bare, ['main']))
})

for (const [what, packs, request] of [
  ['less is wanted', [newer, older], { wants: [earlier] }],
  ['another pack has copies that count', [overlapping, newer, older], { wants: [tip] }],
  ['offsets are of no use to the client', [newer, older], { wants: [tip], ofsDelta: false }],
] as const) {
  t.test(`it is written object by object where ${what}`, async (t) => {
    const pack = await answer(packView(packs), request)
    t.notOk(pack.includes(bodyOf(older.bytes)))
    const client = await clientWith(join(dir, what.replaceAll(' ', '-')), bare, [])
    t.same((await takeInto(client, pack, request.wants, false)).toSorted(), await closureIn(bare, request.wants))
  })
}

t.test('a pack that ends too early is said to be corrupt', async (t) => {
  const cut = { ...older, bytes: older.bytes.subarray(0, older.bytes.length - 200) }
  await t.rejects(answer(packView([newer, cut]), { wants: [tip] }), { code: 'corrupt' })
})
