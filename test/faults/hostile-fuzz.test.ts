import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { workTree } from '../support/domain.js'
import { git } from '../support/git.js'
import {
  create,
  emptyPack,
  fetchBody,
  filesBelow,
  health,
  history,
  makeEmpty,
  post,
  push,
  pushHead,
  residentBytes,
  spoolOf,
  v2,
  zero,
} from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { nameOf, packOf, resealed } from '../support/packs.js'
import { diceOf, type Dice } from '../support/dice.js'
import { pkts } from '../support/wire.js'

const hub = await startHub(t)
const plain = history('hello\n')
const requestsPerRepository = 20_000
/** What the hub may hold on purpose: CAIRN_INGEST_BYTES, CAIRN_TABLE_BYTES and CAIRN_ANSWER_BYTES. */
const budgetBytes = (128 + 256 + 64) * 2 ** 20
const times = Number(process.env['CAIRN_TEST_FUZZ'] ?? 10_000)
t.test(`${times} spoilt pushes and ${times} spoilt fetches: never a 5xx, never a wait`, async (t) => {
  const side = history('side\n', plain.oid)
  const work = await workTree(t.testdir())
  const first = await work.commit({ text: 'one\n'.repeat(100) })
  const latest = await work.commit({ text: `${'one\n'.repeat(100)}two\n` })
  const firstPack = await work.pack(first)
  const begun: Promise<string>[] = []
  /** A new repository now and then: what was taken stays, and with a million pushes in one, its refs would be most of what is measured. */
  const repoOf = (i: number): Promise<string> => (begun[Math.floor(i / requestsPerRepository)] ??= begin(`fuzzed-${begun.length}`))
  const begin = async (name: string): Promise<string> => {
    const repo = await makeEmpty(hub, name)
    await push(hub, repo, [create(plain.oid)], plain.pack)
    await push(hub, repo, [create(side.oid, 'refs/heads/side')], side.pack)
    await push(hub, repo, [create(first, 'refs/heads/w')], firstPack)
    return repo
  }

  const fresh = history('fresh\n')
  const thin = await work.pack(latest, `^${first}`)
  /** Commands and pack apart, so that some packs get a trailer to match what was done to them. */
  const pushes: readonly (readonly [head: Buffer, pack: Buffer])[] = [
    [pushHead([create(fresh.oid, 'refs/heads/new')]), fresh.pack],
    [pushHead([[first, latest, 'refs/heads/w']], ' report-status-v2 side-band-64k ofs-delta atomic quiet'), thin],
    [pushHead([[side.oid, zero, 'refs/heads/side']], ' report-status delete-refs'), Buffer.alloc(0)],
    [pushHead([create(side.oid, 'refs/heads/a'), create(plain.oid, 'refs/tags/b')], ' report-status push-options', ['ci.skip']), emptyPack],
    [Buffer.concat([pkts(`shallow ${plain.oid}`), pushHead([create(fresh.oid, 'refs/heads/s')])]), fresh.pack],
  ]
  const fetches: readonly (readonly [body: Buffer, headers: Record<string, string>])[] = [
    [pkts('command=ls-refs', 'agent=git/2.39.5', '0001', 'peel', 'symrefs', 'unborn', 'ref-prefix refs/heads/', '0000'), v2],
    [fetchBody([plain.oid, side.oid], 'thin-pack', 'include-tag'), v2],
    [pkts('command=fetch', '0001', `want ${side.oid}`, `have ${plain.oid}`, `have ${'1'.repeat(40)}`, '0000'), v2],
    [
      pkts(
        `want ${side.oid} multi_ack_detailed no-done side-band-64k thin-pack ofs-delta agent=x\n`,
        `want ${first}\n`,
        '0000',
        `have ${plain.oid}\n`,
        '0000',
      ),
      {},
    ],
    [pkts(`want ${side.oid} multi_ack side-band \n`, '0000', `have ${plain.oid}\n`, 'done\n'), {}],
    [pkts(`want ${side.oid} deepen-relative side-band-64k\n`, `shallow ${plain.oid}\n`, 'deepen 2\n', '0000', `have ${plain.oid}\n`, 'done\n'), {}],
    [fetchBody([side.oid], `shallow ${plain.oid}`, 'deepen-since 1', 'deepen-not main', 'filter combine:tree:2+blob:limit=1k'), v2],
    [pkts('command=fetch', '0001', 'sideband-all', 'want-ref refs/heads/main', 'deepen 2147483647', `shallow ${side.oid}`, 'done', '0000'), v2],
    [pkts('command=object-info', '0001', 'size', `oid ${plain.oid}`, `oid ${zero}`, '0000'), v2],
    [pkts(`want ${first}\n`, '0000', 'done\n'), { 'git-protocol': 'version=1' }],
  ]
  const tokens = [
    '0000',
    '0001',
    '0002',
    '0003',
    '0004',
    'fff0',
    'ffff',
    '\n',
    '\0',
    ' ',
    'want ',
    'have ',
    'done',
    'deepen 1',
    'PACK',
    plain.oid,
    zero,
    '\x78\x9c',
  ]
  const mutate = (bytes: Buffer, random: Dice): Buffer => {
    const at = random(bytes.length + 1)
    switch (random(6)) {
      case 0: {
        const copy = Buffer.from(bytes)
        copy[Math.min(at, copy.length - 1)] = random(256)
        return copy
      }
      case 1:
        return bytes.subarray(0, at)
      case 2:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(60))])
      case 3:
        return Buffer.concat([bytes.subarray(0, at), Buffer.from(tokens[random(tokens.length)]!, 'latin1'), bytes.subarray(at)])
      case 4: {
        const copy = Buffer.from(bytes)
        if (copy.length > 0) copy[Math.min(at, copy.length - 1)]! ^= 1 << random(8)
        return copy
      }
      default:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(bytes.length))])
    }
  }

  let slowest = 0
  let done = false
  const watch = (async () => {
    while (!done) {
      slowest = Math.max(slowest, await health(hub))
      await delay(100)
    }
  })()
  const before = await residentBytes(hub)
  const statuses = new Map<string, number>()
  let sent = 0
  const worker = async () => {
    while (sent < 2 * times) {
      const i = sent++
      const random = diceOf(20_240_601 + i)
      const spoil = (bytes: Buffer): Buffer => {
        let spoilt = bytes
        for (let left = 1 + random(3); left > 0 && spoilt.length > 0; left--) spoilt = mutate(spoilt, random)
        return spoilt
      }
      /** Sound in all but what its objects say. */
      const strange = (): Buffer => {
        const [file, tree, commit] = [fresh.file, fresh.tree, fresh.commit].map(({ data }) => (random(2) === 0 ? spoil(data) : data)) as [
          Buffer,
          Buffer,
          Buffer,
        ]
        const entries = [
          { type: 3 as const, data: file },
          { type: 2 as const, data: tree },
          { type: 1 as const, data: commit },
        ]
        return Buffer.concat([pushHead([create(nameOf(entries[2]!), `refs/heads/strange/${i}`)]), packOf(entries)])
      }
      const isPush = i % 2 === 0
      let body: Buffer
      let headers: Record<string, string> = {}
      if (isPush) {
        const [head, pack] = pushes[(i >> 1) % pushes.length]!
        const kind = random(3)
        if (kind === 0) body = spoil(Buffer.concat([head, pack]))
        else if (kind === 1) body = Buffer.concat([head, resealed(spoil(pack))])
        else body = strange()
      } else {
        const [seed, itsHeaders] = fetches[(i >> 1) % fetches.length]!
        body = spoil(seed)
        headers = itsHeaders
      }
      const service = isPush ? 'git-receive-pack' : 'git-upload-pack'
      const { status, text } = await post(hub, await repoOf(i), service, body, { headers })
      const key = `${isPush ? 'push' : 'fetch'} ${status}${isPush && /ok refs\//.test(text) ? ' ok' : ''}`
      statuses.set(key, (statuses.get(key) ?? 0) + 1)
      const about = { number: i, body: body.toString('base64') }
      if (status !== 200 && status !== 400) t.fail(`${service} answered ${status}: ${text.slice(0, 200)}`, about)
      if (text.length === 0) t.fail(`${service} answered nothing`, about)
      if (/internal error/.test(text)) t.fail(`${service}: ${text.slice(0, 200)}`, about)
    }
  }
  await Promise.all([worker(), worker(), worker(), worker()])
  done = true
  await watch
  const grown = (await residentBytes(hub)) - before
  t.comment(`${JSON.stringify(Object.fromEntries(statuses))}, /healthz at most ${Math.round(slowest)} ms, ${Math.round(grown / 2 ** 20)} MB more`)
  t.ok(slowest < 1_000, `/healthz took ${Math.round(slowest)} ms`)
  t.ok(grown < 150 * 2 ** 20 + budgetBytes, `${Math.round(grown / 2 ** 20)} MB more`)
  for (const kind of ['push 200', 'push 200 ok', 'push 400', 'fetch 200']) t.ok((statuses.get(kind) ?? 0) > times / 50, `${kind} were there`)
  t.notMatch(hub.output(), /"level":[56]0/)
  t.same(await filesBelow(spoolOf(hub)), [])
  // What old tools wrote is taken on purpose; git fsck, with --strict, is the referee of all the rest.
  const taken = ['badTimezone', 'missingEmail', 'missingNameBeforeEmail', 'missingSpaceBeforeDate', 'missingSpaceBeforeEmail', 'zeroPaddedFilemode']
  for (const [i, repo] of (await Promise.all(begun)).entries()) {
    const clone = join(t.testdirName, `clone-${i}`)
    await git(['clone', '-q', '--mirror', hub.remote(repo), clone])
    await git([...taken.flatMap((name) => ['-c', `fsck.${name}=ignore`]), 'fsck', '--strict', '--full'], { cwd: clone })
    await rm(clone, { recursive: true })
  }
})
