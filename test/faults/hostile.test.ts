import { join } from 'node:path'
import t from 'tap'
import { readableLines } from '../../src/server/logger.js'
import { git } from '../support/git.js'
import {
  create,
  emptyPack,
  fetchBody,
  get,
  health,
  history,
  makeEmpty,
  makeUser,
  packOfAnswer,
  post,
  push,
  pushHead,
  refsOf,
  requestHead,
  sendRaw,
  until,
  v2,
  zero,
  type Command,
} from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { nameOf, packOf, type Base } from '../support/packs.js'
import { pkts } from '../support/wire.js'

const hub = await startHub(t)

const plain = history('hello\n')

const open = await makeEmpty(hub, 'open')
const secret = await makeEmpty(hub, 'secret', { private: true })
const mallory = await makeUser(hub, 'mallory')
const hidden = history('nobody else may read this\n')
await push(hub, open, [create(plain.oid)], plain.pack)
await push(hub, secret, [create(hidden.oid)], hidden.pack)

/** What a fetch of one object is answered, by either version: the number of objects, or the error. */
async function fetched(repo: string, oid: string, token = hub.token): Promise<readonly (number | string)[]> {
  const answers = [
    await post(hub, repo, 'git-upload-pack', fetchBody([oid]), { headers: v2, token }),
    await post(hub, repo, 'git-upload-pack', pkts(`want ${oid} side-band-64k ofs-delta\n`, '0000', 'done\n'), { token }),
  ]
  return answers.map(({ status, body, text }) => {
    if (status !== 200) return `status ${status}`
    const error = /ERR (.*)\n/.exec(text)?.[1]
    return error ?? packOfAnswer(body).readUInt32BE(8)
  })
}

t.test('objects that are only in a repository one may not read are not to be had through another', async (t) => {
  const own = await makeEmpty(hub, 'mine', { owner: 'mallory', token: mallory, private: true })
  await push(hub, own, [create(plain.oid)], plain.pack, { token: mallory })
  for (const oid of [hidden.oid, nameOf(hidden.tree), nameOf(hidden.file)]) {
    const no = `upload-pack: not our ref ${oid}`
    for (const token of ['', mallory, hub.token]) t.same(await fetched(open, oid, token), [no, no])
    t.same(await fetched(own, oid, mallory), [no, no])
    t.same(await fetched(secret, oid, mallory), ['status 404', 'status 404'])
    t.same(await fetched(secret, oid, ''), ['status 401', 'status 401'])
  }
  t.same(await fetched(secret, nameOf(hidden.file)), [1, 1], 'who may read it may want a blob')
})

t.test('objects of a push that was refused are not to be had', async (t) => {
  const refusals: readonly [what: string, command: (oid: string) => Command, capabilities?: string][] = [
    ['a stale old value', (oid) => [hidden.oid, oid, 'refs/heads/main']],
    ['a hidden ref', (oid) => create(oid, 'refs/pr/1')],
    ['a name that cannot be', (oid) => create(oid, 'refs/heads/a..b')],
    ['a conflict of names', (oid) => create(oid, 'refs/heads/main/below')],
  ]
  for (const [what, command] of refusals) {
    const pushed = history(`refused for ${what}\n`)
    const { unpack, refs } = await push(hub, open, [command(pushed.oid)], pushed.pack)
    t.equal(unpack, 'ok')
    t.match(refs, [/^ng /], what)
    for (const oid of [pushed.oid, nameOf(pushed.file)]) {
      t.same(await fetched(open, oid), [`upload-pack: not our ref ${oid}`, `upload-pack: not our ref ${oid}`], what)
      t.match((await push(hub, open, [create(oid, 'refs/tags/after')], emptyPack)).refs, ['ng refs/tags/after missing necessary objects'], what)
    }
  }
  const innocent = history('innocent\n')
  const atomic = await push(hub, open, [create(innocent.oid, 'refs/heads/new'), create(innocent.oid, 'refs/heads/main/x')], innocent.pack, {
    capabilities: ' report-status side-band-64k atomic',
  })
  t.match(atomic.refs, [/^ng refs\/heads\/new /, /^ng refs\/heads\/main\/x /])
  t.same(await fetched(open, innocent.oid), [`upload-pack: not our ref ${innocent.oid}`, `upload-pack: not our ref ${innocent.oid}`])
  t.same(Object.keys(await refsOf(hub, open)), ['HEAD', 'refs/heads/main'])
})

t.test('what was force-pushed away or deleted is still served, until it is collected', async (t) => {
  const repo = await makeEmpty(hub, 'rewritten')
  const [first, second] = [history('first\n'), history('second\n')]
  await push(hub, repo, [create(first.oid)], first.pack)
  t.same((await push(hub, repo, [[first.oid, second.oid, 'refs/heads/main']], second.pack)).refs, ['ok refs/heads/main'])
  await push(hub, repo, [create(plain.oid, 'refs/heads/topic')], plain.pack)
  t.same((await push(hub, repo, [[plain.oid, zero, 'refs/heads/topic']])).refs, ['ok refs/heads/topic'])
  t.same(await fetched(repo, first.oid), [3, 3])
  t.same(await fetched(repo, nameOf(first.file)), [1, 1])
  t.same(await fetched(repo, plain.oid), [3, 3])
})

t.test('wants may repeat, and may name tags, what they point at, trees and blobs', async (t) => {
  const repo = await makeEmpty(hub, 'wants')
  const tag: Base & { data: Buffer } = {
    type: 4,
    data: Buffer.from(`object ${plain.oid}\ntype commit\ntag v1\ntagger A U Thor <author@example.com> 1700000000 +0000\n\nv1\n`),
  }
  const { commit, tree, file } = plain
  t.same((await push(hub, repo, [create(nameOf(tag), 'refs/tags/v1')], packOf([tag, commit, tree, file]))).refs, ['ok refs/tags/v1'])
  t.same(await fetched(repo, nameOf(tag)), [4, 4])
  t.same(await fetched(repo, plain.oid), [3, 3])
  t.same(await fetched(repo, nameOf(tree)), [2, 2])
  t.same(await fetched(repo, nameOf(file)), [1, 1])
  const all = [tag, commit, tree, file].map(nameOf)
  const answer = await post(hub, repo, 'git-upload-pack', fetchBody([...all, ...all, ...all]), { headers: v2 })
  t.equal(packOfAnswer(answer.body).readUInt32BE(8), 4)
})

t.test('a request of one version in the clothes of another is refused in words', async (t) => {
  const two = fetchBody([plain.oid])
  const none = pkts(`want ${plain.oid} side-band-64k\n`, '0000', 'done\n')
  const cases: readonly [what: string, body: Buffer, headers: Record<string, string>, message: RegExp][] = [
    ['v2 sent as v0', two, {}, /ERR unexpected line: 'command=fetch'/],
    ['v2 sent as v1', two, { 'git-protocol': 'version=1' }, /ERR unexpected line: 'command=fetch'/],
    ['v0 sent as v2', none, v2, /ERR unknown capability 'want /],
    ['a push sent to fetch', pushHead([create(plain.oid)]), v2, /ERR unknown capability/],
    ['a push sent to fetch, v0', pushHead([create(plain.oid)]), {}, /ERR unexpected line/],
    ['a v2 push', pkts('command=push', '0001', '0000'), v2, /ERR invalid command 'push'/],
    ['a version nobody knows', none, { 'git-protocol': 'version=3:x=y' }, /NAK/],
    ['the highest counts', two, { 'git-protocol': 'version=1:version=2' }, /packfile/],
    ['no depth, v2', pkts('command=fetch', '0001', `want ${plain.oid}`, 'deepen 0', 'done', '0000'), v2, /ERR expected a depth/],
    ['no depth, v0', pkts(`want ${plain.oid} shallow\n`, 'deepen -1\n', '0000', 'done\n'), {}, /ERR expected a depth/],
    [
      'a time before all',
      pkts('command=fetch', '0001', `want ${plain.oid}`, 'deepen-since 99999999999', 'done', '0000'),
      v2,
      /ERR no commits selected/,
    ],
    [
      'a filter that reads',
      pkts('command=fetch', '0001', `want ${plain.oid}`, `filter sparse:oid=${plain.oid}`, '0000'),
      v2,
      /ERR filter .* not supported/,
    ],
    [
      'a filter without end',
      pkts('command=fetch', '0001', `want ${plain.oid}`, `filter ${'combine:'.repeat(8000)}`, '0000'),
      v2,
      /ERR filter .* not supported/,
    ],
    ['another hash', pkts('command=fetch', 'object-format=sha256', '0001', `want ${plain.oid}`, 'done', '0000'), v2, /ERR .*sha256/],
    ['an empty line', Buffer.concat([pkts('command=fetch', '0001'), Buffer.from('0004'), pkts('done', '0000')]), v2, /ERR unexpected line: ''/],
    ['a line of length 3', Buffer.from('0003'), v2, /bad pkt-line length "0003"/],
    ['a line that is too long', Buffer.from(`ffff${'a'.repeat(65_531)}`), v2, /bad pkt-line length "ffff"/],
    ['a line cut short', Buffer.from('0032want '), {}, /ends within a pkt-line/],
  ]
  for (const [what, body, headers, message] of cases) {
    const { status, text } = await post(hub, open, 'git-upload-pack', body, { headers })
    t.ok(status === 200 || status === 400, `${what}: ${status}`)
    t.match(text, message, what)
  }
  for (const body of [two, none, pkts('command=push', '0001', '0000'), Buffer.from('0004'), Buffer.from('0001'), Buffer.from('zzzz')]) {
    const { status, text } = await post(hub, open, 'git-receive-pack', body)
    t.ok(status === 200 || status === 400, `${status}`)
    t.match(text, /expected old oid|bad pkt-line/)
  }
})

t.test('pushing has no version 2, whatever the client offers', async (t) => {
  const { text } = await get(hub, `${open}/info/refs?service=git-receive-pack`, { headers: v2 })
  t.ok(text.startsWith(`001f# service=git-receive-pack\n0000`))
  t.notMatch(text, 'version 2')
  t.notMatch(text, 'HEAD')
  const advertised = await get(hub, `${open}/info/refs?service=git-upload-pack`, { headers: v2 })
  t.ok(advertised.text.startsWith('000eversion 2\n'), 'no service line in front of version 2')
  const answer = await post(hub, open, 'git-receive-pack', Buffer.concat([pushHead([create(plain.oid, 'refs/heads/v2')]), emptyPack]), {
    headers: v2,
  })
  t.ok(answer.text.endsWith('002c\x01000eunpack ok\n0015ok refs/heads/v2\n00000000'), answer.text)
})

t.test('in version 2 a ready is followed by a delimiter and the pack, and done needs no acknowledgments', async (t) => {
  const ask = async (...lines: string[]) =>
    (await post(hub, open, 'git-upload-pack', pkts('command=fetch', '0001', 'no-progress', `want ${plain.oid}`, ...lines, '0000'), { headers: v2 }))
      .text
  const strange = '1'.repeat(40)
  t.equal(await ask(`have ${strange}`), '0014acknowledgments\n0008NAK\n0000')
  t.ok((await ask(`have ${plain.oid}`)).startsWith(`0014acknowledgments\n0031ACK ${plain.oid}\n000aready\n0001000dpackfile\n`))
  t.ok((await ask(`have ${plain.oid}`, 'done')).startsWith('000dpackfile\n'))
})

t.test('a ref that moved in between is a line of the report', async (t) => {
  const next = history('next\n', plain.oid)
  const stale = await push(hub, open, [[hidden.oid, next.oid, 'refs/heads/main']], next.pack)
  t.equal(stale.status, 200)
  t.match(stale.refs, [/^ng refs\/heads\/main /])
  t.match((await push(hub, open, [create(next.oid)], next.pack)).refs, [/^ng refs\/heads\/main /], 'made by somebody else')
  t.match((await push(hub, open, [[plain.oid, plain.oid, 'refs/heads/absent']], emptyPack)).refs, [/^ng refs\/heads\/absent /])
  const twice = await push(hub, open, [create(plain.oid, 'refs/heads/t'), create(plain.oid, 'refs/heads/t')], emptyPack)
  t.match(twice.refs, [/^ng refs\/heads\/t multiple updates/, /^ng refs\/heads\/t multiple updates/])
})

t.test('ref names that are too long, misleading or impossible are refused by their names', async (t) => {
  const bad = [
    `refs/heads/${'x'.repeat(300)}`,
    `refs/heads/${'x'.repeat(60_000)}`,
    `refs/heads/${'a'.repeat(40)}`,
    `refs/tags/${'0'.repeat(64)}`,
    'refs/heads/HEAD',
    'refs/heads/-x',
    'refs/heads/x/-y',
    'refs/heads/../main',
    'refs/heads/.x',
    'refs/heads/x.lock',
    'refs/heads/x/',
    'refs/heads//x',
    'refs/heads/x..y',
    'refs/heads/x@{1}',
    'refs/heads/x y',
    'refs/heads/x~1',
    'refs/heads/x\\y',
    'refs/heads/\x1b[31mred',
    'refs/heads/x\x07',
    'refs/heads/x\x7f',
    'refs/heads/x\r',
    'refs/heads/x\nrefs/heads/y',
    'refs/heads/\xc2\x9b31mred',
    'refs/heads/\xe2\x80\xa8line',
    'refs/heads/\xff\xfe',
    'refs/pr/1',
    'refs/convert/parquet',
    'refs/x',
    'HEAD',
    'main',
    '',
    '../../../etc/passwd',
  ]
  for (const name of bad) {
    const { status, refs, text } = await push(hub, open, [create(plain.oid, name)], emptyPack)
    t.ok(status === 200 || status === 400, `${status} for ${JSON.stringify(name.slice(0, 60))}`)
    t.match(refs[0] ?? text, /^ng |expected old oid/, JSON.stringify(name.slice(0, 60)))
  }
  for (const name of ['refs/heads/gr\xc3\xbc\xc3\x9fe', 'refs/heads/\xf0\x9f\x9a\x80', `refs/heads/${'x'.repeat(240)}`]) {
    t.same((await push(hub, open, [create(plain.oid, name)], emptyPack)).refs, [`ok ${name}`])
  }
  t.same(Object.keys(await refsOf(hub, open)).length, 6)
})

t.test('6,000 refs go in one push, 6,001 are refused, and a repository has at most 100,000', async (t) => {
  const repo = await makeEmpty(hub, 'flood')
  const make = (from: number, count: number): Command[] =>
    Array.from({ length: count }, (_, i) => create(plain.oid, `refs/heads/f/${String(from + i).padStart(6, '0')}`))
  const many = await push(hub, repo, make(0, 6_001), plain.pack)
  t.equal(many.unpack, 'more than 6000 refs in one push')
  t.equal(many.refs.length, 6_000)
  t.same(await refsOf(hub, repo), {})
  const counts: number[] = []
  for (let from = 0; from < 102_000; from += 6_000) {
    const { refs } = await push(hub, repo, make(from, 6_000), from === 0 ? plain.pack : emptyPack)
    counts.push(refs.filter((line) => line.startsWith('ok')).length)
    if (from === 96_000) t.match(refs.at(-1), 'the repository would have more than 100000 refs')
  }
  t.same(counts, [...Array.from({ length: 16 }, () => 6_000), 4_000])
  t.ok((await health(hub)) < 1_000)
  t.equal((await git(['ls-remote', '--heads', hub.remote(repo)])).stdout.toString().trim().split('\n').length, 100_000)
  await hub.api('DELETE', '/api/repos/delete', { name: 'flood', type: 'model' })
})

t.test('control characters reach neither the terminals of others nor the log', async (t) => {
  const optional = async (option: string) =>
    push(hub, open, [create(plain.oid, 'refs/heads/options')], emptyPack, {
      capabilities: ' report-status side-band-64k push-options',
      pushOptions: ['ci.skip', option],
    })
  t.equal((await optional('a\0b')).unpack, 'a push option has a NUL byte')
  for (const option of ['\x1b[2J\x1b]0;owned\x07', '\xc2\x9b31m', '\r\nforged line', 'caf\xe9', '\xed\xa0\x80']) {
    t.same((await optional(option)).refs, ['ok refs/heads/options'])
  }
  const echoes = [
    await push(hub, open, [create(plain.oid, 'refs/heads/\x1b[31mred')], emptyPack),
    await post(hub, open, 'git-upload-pack', pkts('command=\x1b[31m', '0000'), { headers: v2 }),
    await post(hub, open, 'git-upload-pack', pkts('command=fetch', '0001', 'evil \x1b[31m\xc2\x9b', '0000'), { headers: v2 }),
    await post(hub, open, 'git-upload-pack', pkts('want \x1b]0;x\x07', '0000')),
    await post(hub, open, 'git-receive-pack', pkts('\x1b[31m'.repeat(30), '0000')),
    await get(hub, `${open}/info/refs?service=%1b%5b31m%c2%9b`),
    await get(hub, `%1b%5b31m/%c2%9bx/info/refs?service=git-upload-pack`),
  ]
  for (const { text } of echoes.slice(1)) t.notMatch(text, /[\x00\x07\x1b\x7f]|\xc2[\x80-\x9f]/)
  const odd = requestHead(hub, 'GET /admin/absent', ['User-Agent: git/\x9b31m\xff odd\ttab', 'Connection: close'])
  t.same((await sendRaw(hub, odd)).statuses, [404])
  await sendRaw(hub, requestHead(hub, 'GET /admin/\x9b31m\xff', ['Connection: close']))
  for (const line of ['a ref \x1b[31m', 'two\nlines', 'c1 \u009b31m \u2028']) await hub.api('POST', '/api/cairn/users', { name: line })
  await health(hub)
  await until('the request is in the log', () => hub.output().includes('odd'))
  t.notMatch(hub.output(), /[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]/)

  const printed: string[] = []
  const fields = { agent: 'git/\x1b[31m\u009b', url: '/\u009b\x07', nested: { ref: '\x1b' }, actor: 'a\nforged=1' }
  readableLines((text) => printed.push(text)).write(
    JSON.stringify({ level: 30, time: '2026-01-01T00:00:00.000Z', msg: 'answered \x1b', err: { stack: 'Error: \x1b[31m\n    at x' }, ...fields }),
  )
  t.notMatch(printed.join(''), /[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
  t.equal(printed.join('').split('\n').length, 3, 'a line, and two of the trace')

  const clone = await git(['clone', `${hub.url}/${open}`, join(t.testdir(), 'clone')])
  t.notMatch(clone.stderr + clone.stdout.toString(), /[\x07\x1b]/)
  const branches = await git(['ls-remote', hub.remote(open)])
  t.notMatch(branches.stdout.toString(), /[\x00-\x08\x0b-\x1f\x7f-\x9f]/)
})

t.test('none of this was a failure of the hub', async (t) => {
  t.notMatch(hub.output(), /"level":[56]0/)
})
