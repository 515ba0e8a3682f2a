import t from 'tap'
import { ProtocolError } from '../../protocol/errors.js'
import type { ReceivePort } from '../../protocol/ports.js'
import { advertiseReceivePack, receivePack, type ReceivePackOptions } from '../../protocol/receive-pack.js'
import { bodyOf, byteByByte, collect, fakeReceive, forever, handClock, noSlices, oidOf, pkts, refOf, refTable, wireText } from '../support/wire.js'

const a = oidOf('a')
const b = oidOf('b')
const c = oidOf('c')
const zero = oidOf('0')
const emptyPack = Buffer.from('5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e', 'hex')

function serve(
  body: Uint8Array | AsyncIterable<Uint8Array>,
  port: ReceivePort,
  options: Partial<ReceivePackOptions> = {},
): AsyncGenerator<Uint8Array> {
  return receivePack({
    body: body instanceof Uint8Array ? bodyOf(body) : body,
    port,
    slices: noSlices,
    sleep: forever,
    keepaliveMs: 5000,
    signal: new AbortController().signal,
    ...options,
  })
}

/** A push with bare reports: what most of these tests are about is in the report. */
function push(
  port: ReceivePort,
  commands: readonly string[],
  options: { caps?: string; pack?: Uint8Array; more?: readonly string[] } = {},
): Promise<string> {
  const { caps = 'report-status', pack = emptyPack, more = [] } = options
  const [first, ...rest] = commands
  return wireText(serve(Buffer.concat([pkts(`${first}\0 ${caps}`, rest, '0000', ...more), pack]), port))
}

const report = (...lines: readonly string[]) =>
  pkts(
    lines.map((line) => `${line}\n`),
    '0000',
  ).toString('latin1')

t.test('the advertisement is v0, without HEAD and without peeled tags', async (t) => {
  const refs = refTable([refOf('refs/heads/main', a), refOf('refs/tags/v1', c, a)])
  const words = 'report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent=cairn/0.1.0'
  const v0 = `001f# service=git-receive-pack\n000000bf${a} refs/heads/main\0${words}\n003a${c} refs/tags/v1\n0000`
  t.equal(await wireText(advertiseReceivePack(refs)), v0)
  t.equal(await wireText(advertiseReceivePack(refs, 2)), v0)
  t.equal(await wireText(advertiseReceivePack(refs, 1)), v0.replace('\n0000', '\n0000000eversion 1\n'))
  t.equal(await wireText(advertiseReceivePack(refTable([]))), `001f# service=git-receive-pack\n000000bf${zero} capabilities^{}\0${words}\n0000`)
})

t.test('a push', async (t) => {
  t.test('is staged, applied and reported', async (t) => {
    const port = fakeReceive()
    const answer = await push(port, [`${a} ${b} refs/heads/main`, `${zero} ${c} refs/tags/v1`], { caps: 'report-status agent=git/2.39.5' })
    t.equal(answer, '000eunpack ok\n0017ok refs/heads/main\n0014ok refs/tags/v1\n0000')
    t.same(port.requests, [
      {
        commands: [
          { name: 'refs/heads/main', oldOid: a, newOid: b },
          { name: 'refs/tags/v1', oldOid: zero, newOid: c },
        ],
        atomic: false,
        pushOptions: [],
      },
    ])
    t.same(port.packs, [emptyPack])
    t.equal(port.disposed, 1)
  })

  t.test('is read however its bytes are cut', async (t) => {
    const body = Buffer.concat([
      pkts(`${a} ${b} refs/heads/main\0 report-status side-band-64k object-format=sha1 agent=git/2.39.5`, '0000'),
      emptyPack,
    ])
    const answer = '002e\x01000eunpack ok\n0017ok refs/heads/main\n00000000'
    t.equal(await wireText(serve(body, fakeReceive())), answer)
    const port = fakeReceive()
    t.equal(await wireText(serve(byteByByte(body), port)), answer)
    t.same(port.packs, [emptyPack])
    for (let cut = 1; cut < body.length; cut++) {
      const port = fakeReceive()
      t.equal(await wireText(serve(bodyOf(body.subarray(0, cut), body.subarray(cut)), port)), answer, `cut at ${cut}`)
      t.same(port.packs, [emptyPack])
    }
  })

  t.test('hears why a ref did not move', async (t) => {
    const port = fakeReceive({
      apply: async ({ commands }) => [
        { name: commands[0]!.name, kind: 'refused', reason: 'non-fast-forward' },
        { name: commands[1]!.name, kind: 'ok' },
      ],
    })
    t.equal(
      await push(port, [`${a} ${b} refs/heads/gr\xc3\xb6\xc3\x9fe`, `${a} ${b} refs/heads/x`]),
      report('unpack ok', 'ng refs/heads/gr\xc3\xb6\xc3\x9fe non-fast-forward', 'ok refs/heads/x'),
    )
  })

  t.test('a port that forgets a command does not pass for one that did it', async (t) => {
    const port = fakeReceive({ apply: async () => [] })
    t.equal(await push(port, [`${a} ${b} refs/heads/x`]), report('unpack ok', 'ng refs/heads/x no result'))
  })

  t.test('without report-status hears a flush, never nothing', async (t) => {
    t.equal(await push(fakeReceive(), [`${a} ${b} refs/heads/x`], { caps: 'agent=x' }), '0000')
    t.equal(await push(fakeReceive(), [`${a} ${b} refs/heads/x`], { caps: 'side-band-64k' }), '0000')
    t.equal(await wireText(serve(Buffer.concat([pkts(`${a} ${b} refs/heads/x`, '0000'), emptyPack]), fakeReceive())), '0000')
  })

  t.test('report-status-v2 reads the same', async (t) => {
    t.equal(await push(fakeReceive(), [`${a} ${b} refs/heads/x`], { caps: 'report-status-v2' }), report('unpack ok', 'ok refs/heads/x'))
  })

  t.test('hands atomic and push options on', async (t) => {
    const port = fakeReceive()
    await push(port, [`${a} ${b} refs/heads/x`], {
      caps: 'report-status atomic push-options',
      more: ['ci.skip\n', 'größe'.replaceAll('ö', '\xc3\xb6').replaceAll('ß', '\xc3\x9f'), '0000'],
    })
    t.same([port.requests[0]?.atomic, port.requests[0]?.pushOptions], [true, ['ci.skip', 'größe']])
    t.same(port.packs, [emptyPack])
  })

  t.test('from a shallow clone is an ordinary one until something is missing', async (t) => {
    const port = fakeReceive()
    const bytes = Buffer.concat([pkts(`shallow ${c}\n`, `${a} ${b} refs/heads/x\0 report-status`, '0000'), emptyPack])
    t.equal(await wireText(serve(bytes, port)), report('unpack ok', 'ok refs/heads/x'))
    const missing = async () => Promise.reject(new ProtocolError('missing-object', 'no parent'))
    t.equal(await wireText(serve(bytes, fakeReceive({ stage: missing }))), report('unpack ok', 'ng refs/heads/x shallow update not allowed'))
    const banded = pkts(`shallow ${c}\n`, `${a} ${b} refs/heads/x\0 report-status side-band-64k`, '0000')
    t.equal(
      await wireText(serve(Buffer.concat([banded, emptyPack]), fakeReceive({ stage: missing }))),
      '000f\x02no parent\n0046\x01000eunpack ok\n002fng refs/heads/x shallow update not allowed\n00000000',
    )
    const broken = async () => Promise.reject(new ProtocolError('bad-pack', 'no pack'))
    t.equal(await wireText(serve(bytes, fakeReceive({ stage: broken }))), report('unpack no pack', 'ng refs/heads/x unpacker error'))
  })

  t.test('of 5,000 refs is one push', async (t) => {
    const commands = Array.from({ length: 5000 }, (_, i) => `${zero} ${b} refs/heads/branch-${i}`)
    t.equal((await push(fakeReceive(), commands)).match(/ok refs\/heads\/branch-/g)?.length, 5000)
    const banded = await push(fakeReceive(), commands, { caps: 'report-status side-band-64k' })
    t.equal(banded.slice(0, 20), 'fff0\x01000eunpack ok\n0', 'a report of several packets')
    t.equal(banded.slice(65_520).search(/^[0-9a-f]{4}\x01/), 0)
    t.equal(banded.slice(-8), '00000000')
  })
})

t.test('deletes', async (t) => {
  t.test('alone need no pack', async (t) => {
    const port = fakeReceive()
    t.equal(
      await push(port, [`${a} ${zero} refs/heads/x`, `${a} ${zero} refs/old`], { pack: Buffer.alloc(0) }),
      report('unpack ok', 'ok refs/heads/x', 'ok refs/old'),
    )
    t.same(port.packs, [undefined])
  })

  t.test('alone may come with an empty one', async (t) => {
    const port = fakeReceive()
    t.equal(await push(port, [`${a} ${zero} refs/heads/x`]), report('unpack ok', 'ok refs/heads/x'))
    t.same(port.packs, [undefined])
  })

  t.test('beside an update leave the pack to it', async (t) => {
    const port = fakeReceive()
    await push(port, [`${a} ${zero} refs/heads/x`, `${a} ${b} refs/heads/y`])
    t.same(port.packs, [emptyPack])
  })
})

t.test('commands refused at sight', async (t) => {
  t.test('do not keep the others from moving', async (t) => {
    const port = fakeReceive()
    const commands = [
      `${a} ${b} refs/heads/a..b`,
      `${a} ${b} refs/heads/x`,
      `${zero} ${b} refs/pr/1`,
      `${a} ${zero} refs/internal/x`,
      `${zero} ${b} refs/heads/${a}`,
      `${a} ${b} HEAD`,
    ]
    t.equal(
      await push(port, commands),
      report(
        'unpack ok',
        'ng refs/heads/a..b funny refname',
        'ok refs/heads/x',
        'ng refs/pr/1 deny updating a hidden ref',
        'ng refs/internal/x deny updating a hidden ref',
        `ng refs/heads/${a} branch and tag names must not look like object ids`,
        'ng HEAD funny refname',
      ),
    )
    t.same(port.requests[0]?.commands, [{ name: 'refs/heads/x', oldOid: a, newOid: b }])
  })

  t.test('two for one ref refuse each other', async (t) => {
    const twice = 'ng refs/heads/x multiple updates for this ref are not allowed'
    t.equal(
      await push(fakeReceive(), [`${a} ${b} refs/heads/x`, `${a} ${b} refs/heads/y`, `${b} ${c} refs/heads/x`]),
      report('unpack ok', twice, 'ok refs/heads/y', twice),
    )
  })

  t.test('one of an atomic push takes all with it, and nothing is staged', async (t) => {
    const port = fakeReceive()
    t.equal(
      await push(port, [`${a} ${b} refs/heads/x`, `${a} ${b} refs/pr/2`], { caps: 'report-status atomic' }),
      report('unpack ok', 'ng refs/heads/x atomic push failure', 'ng refs/pr/2 deny updating a hidden ref'),
    )
    t.same(port.requests, [])
  })

  t.test('leave their pack unread by anybody when only deletes remain', async (t) => {
    const port = fakeReceive()
    await push(port, [`${a} ${b} refs/pr/2`, `${a} ${zero} refs/heads/x`])
    t.same(port.packs, [undefined])
  })
})

t.test('a pack that is refused', async (t) => {
  const refusing = (error: Error) =>
    fakeReceive({
      async stage(pack) {
        for await (const _ of pack ?? []) throw error
      },
    })

  t.test('is reported for every command, and the rest of it is read first', async (t) => {
    let read = 0
    async function* body() {
      yield Buffer.concat([pkts(`${a} ${b} refs/heads/x\0 report-status`, `${a} ${b} refs/heads/y`, '0000'), emptyPack])
      for (; read < 10; read++) yield emptyPack
    }
    const answer = await wireText(serve(body(), refusing(new ProtocolError('bad-pack', 'the pack\nends \x1b[1mearly'))))
    t.equal(answer, report('unpack the pack ends  [1mearly', 'ng refs/heads/x unpacker error', 'ng refs/heads/y unpacker error'))
    t.equal(read, 10)
  })

  t.test('is told to the person as well, unless they want it quiet', async (t) => {
    const error = new ProtocolError('too-large', 'too large')
    const expected = '0041\x010015unpack too large\n0023ng refs/heads/x unpacker error\n00000000'
    t.equal(await push(refusing(error), [`${a} ${b} refs/heads/x`], { caps: 'report-status side-band-64k' }), `0016\x02error: too large\n${expected}`)
    t.equal(await push(refusing(error), [`${a} ${b} refs/heads/x`], { caps: 'report-status side-band-64k quiet' }), expected)
  })

  t.test('by an error that is ours is thrown', async (t) => {
    for (const error of [
      new Error('disk full'),
      new ProtocolError('corrupt', 'pack 7 is broken'),
      new ProtocolError('cancelled', 'the client left'),
    ]) {
      await t.rejects(push(refusing(error), [`${a} ${b} refs/heads/x`]), error)
    }
  })

  t.test('only when it is applied reads the same, and the spool is gone', async (t) => {
    const port = fakeReceive({ apply: () => Promise.reject(new ProtocolError('missing-object', `object ${c} is missing`)) })
    t.equal(await push(port, [`${a} ${b} refs/heads/x`]), report(`unpack object ${c} is missing`, 'ng refs/heads/x unpacker error'))
    t.equal(port.disposed, 1)
    const broken = fakeReceive({ apply: () => Promise.reject(new Error('database')) })
    await t.rejects(push(broken, [`${a} ${b} refs/heads/x`]), { message: 'database' })
    t.equal(broken.disposed, 1)
  })
})

t.test('limits are told for every command', async (t) => {
  const many = Array.from({ length: 6001 }, (_, i) => `${zero} ${b} refs/heads/${i}x`)
  const port = fakeReceive()
  const answer = await push(port, many)
  t.equal(answer.slice(0, 43), '002bunpack more than 6000 refs in one push\n')
  t.equal(answer.match(/unpacker error/g)?.length, 6000)
  const caps = 'report-status push-options'
  const ng = 'ng refs/heads/x unpacker error'
  const options = Array.from({ length: 101 }, () => 'x')
  t.equal(await push(port, [`${a} ${b} refs/heads/x`], { caps, more: [...options, '0000'] }), report('unpack more than 100 push options', ng))
  t.equal(
    await push(port, [`${a} ${b} refs/heads/x`], { caps, more: ['x'.repeat(4097), '0000'] }),
    report('unpack a push option is over 4096 bytes', ng),
  )
  t.same(port.requests, [])
})

t.test('a push that cannot be understood', async (t) => {
  t.test('is told so in the way the client listens', async (t) => {
    const cases: readonly [lines: readonly string[], message: string][] = [
      [['hello', '0000'], "expected old oid, new oid and ref name, got 'hello'"],
      [[`${a} ${b}`, '0000'], `expected old oid, new oid and ref name, got '${a} ${b}'`],
      [[`${a} ${b} `, '0000'], `expected old oid, new oid and ref name, got '${a} ${b}'`],
      [[`${a}-${b} x`, '0000'], `expected old oid, new oid and ref name, got '${a}-${b} x'`],
      [['0001'], 'expected old oid, new oid and ref name'],
      [['push-cert\0 report-status', '0000'], 'signed pushes are not supported'],
      [['shallow xyz', '0000'], 'expected an object id of 40 hex digits, got "xyz"'],
      [[`${a} ${b} refs/heads/x\0 object-format=sha256`, '0000'], 'object format sha256 is not supported: repositories here use sha1'],
    ]
    for (const [lines, message] of cases) {
      const line = `ERR ${message}\n`
      t.equal(
        await wireText(serve(Buffer.concat([pkts(...lines), emptyPack]), fakeReceive())),
        `${(line.length + 4).toString(16).padStart(4, '0')}${line}`,
        message,
      )
    }
    t.equal(
      await push(fakeReceive(), [`${a} ${b} refs/heads/x`, 'hello'], { caps: 'report-status side-band-64k' }),
      "0039\x03expected old oid, new oid and ref name, got 'hello'\n0000",
    )
    t.match(
      await push(fakeReceive(), [`${a} ${b} refs/heads/x`], { caps: 'push-options side-band-64k', more: ['0001'] }),
      /^....\x03the push options end before their flush\n0000$/,
    )
    const flood = Array.from({ length: 300 }, () => `${a} ${b} refs/heads/${'x'.repeat(60_000)}`)
    t.match(await push(fakeReceive(), flood), /ERR the request is over 16777216 bytes/)
  })

  t.test('is thrown before the first byte when not even its framing holds', async (t) => {
    await t.rejects(collect(serve(Buffer.alloc(0), fakeReceive())), { code: 'bad-request', message: 'the request is empty' })
    await t.rejects(collect(serve(Buffer.from('PACK'), fakeReceive())), { code: 'bad-request', message: 'bad pkt-line length "PACK"' })
    const whole = pkts(`${a} ${b} refs/heads/x\0 report-status push-options`, `${a} ${b} refs/heads/y`, '0000', 'option', '0000')
    for (let cut = 0; cut < whole.length; cut++) {
      await t.rejects(collect(serve(whole.subarray(0, cut), fakeReceive())), { name: 'ProtocolError', code: 'bad-request' }, `cut at ${cut}`)
    }
  })

  t.test('a flush alone is a probe and gets one back', async (t) => {
    t.equal(await wireText(serve(Buffer.from('0000'), fakeReceive())), '0000')
  })
})

t.test('while the push is worked on', async (t) => {
  const head = (caps: string) => pkts(`${a} ${b} refs/heads/x\0 report-status ${caps}`, '0000')

  t.test('nothing is said before the last byte has come; then progress, keepalives and the report', async (t) => {
    const clock = handClock()
    const last = Promise.withResolvers<void>()
    const staged = Promise.withResolvers<void>()
    async function* body() {
      yield head('side-band-64k')
      yield Buffer.from('PA')
      await last.promise
      yield Buffer.from('CK')
    }
    const port = fakeReceive({
      async stage(pack, { onProgress }) {
        await collect(pack!)
        onProgress?.({ title: 'Resolving deltas', done: 1, total: 2 })
        await staged.promise
      },
    })
    const answer = serve(body(), port, clock)
    const next = async () => Buffer.from((await answer.next()).value as Uint8Array).toString()
    let step = next()
    await clock.tick()
    await clock.tick()
    t.equal(await Promise.race([step, Promise.resolve('silence')]), 'silence')
    last.resolve()
    t.equal(await step, '0022\x02Resolving deltas:  50% (1/2)\r')
    step = next()
    await clock.tick()
    await clock.tick()
    t.equal(await step, '0005\x01')
    staged.resolve()
    t.equal(await wireText(answer), '0029\x02Resolving deltas:  50% (1/2), done.\n002b\x01000eunpack ok\n0014ok refs/heads/x\n00000000')
    t.equal(clock.sleepers, 0)
  })

  t.test('quiet hears no progress, and without side-band there is nothing but the report', async (t) => {
    const port = () =>
      fakeReceive({
        async stage(pack, { onProgress }) {
          await collect(pack!)
          onProgress?.({ title: 'Resolving deltas', done: 2, total: 2 })
        },
      })
    t.equal(
      await wireText(serve(head('side-band-64k'), port())),
      '0029\x02Resolving deltas: 100% (2/2), done.\n002b\x01000eunpack ok\n0014ok refs/heads/x\n00000000',
    )
    t.equal(await wireText(serve(head('side-band-64k quiet'), port())), '002b\x01000eunpack ok\n0014ok refs/heads/x\n00000000')
    t.equal(await wireText(serve(head('agent=go-git'), port())), '000eunpack ok\n0014ok refs/heads/x\n0000')
  })

  t.test('a slow reader misses no line', async (t) => {
    const clock = handClock()
    const work = Promise.withResolvers<void>()
    const port = fakeReceive({
      async stage(pack, { onProgress }) {
        await collect(pack!)
        onProgress?.({ title: 'Resolving deltas', done: 1, total: 2 })
        await work.promise
        onProgress?.({ title: 'Resolving deltas', done: 2, total: 2 })
      },
    })
    const answer = serve(head('side-band-64k'), port, clock)
    await answer.next()
    work.resolve()
    await clock.tick()
    t.equal(await wireText(answer), '0029\x02Resolving deltas: 100% (2/2), done.\n002b\x01000eunpack ok\n0014ok refs/heads/x\n00000000')
  })

  t.test('an error that is ours, once the answer has begun, is told on band 3 and thrown', async (t) => {
    const clock = handClock()
    const work = Promise.withResolvers<void>()
    const port = fakeReceive({
      async stage(pack) {
        await collect(pack!)
        await work.promise
      },
    })
    const answer = serve(head('side-band-64k'), port, clock)
    const beat = answer.next()
    await clock.tick()
    await clock.tick()
    t.equal(Buffer.from((await beat).value as Uint8Array).toString(), '0005\x01')
    work.reject(new Error('disk full'))
    t.equal(Buffer.from((await answer.next()).value as Uint8Array).toString(), '0014\x03internal error\n')
    await t.rejects(answer.next(), { message: 'disk full' })
  })

  t.test('a client that leaves does not end before the work has let go of its spool', async (t) => {
    const clock = handClock()
    const applied = Promise.withResolvers<void>()
    const port = fakeReceive({
      async apply({ commands }) {
        await applied.promise
        return commands.map(({ name }) => ({ name, kind: 'ok' }))
      },
    })
    const answer = serve(head('side-band-64k'), port, clock)
    const beat = answer.next()
    await clock.tick()
    await clock.tick()
    await beat
    const end = answer.return(undefined)
    await clock.tick()
    t.equal(port.disposed, 0)
    applied.resolve()
    await end
    t.equal(port.disposed, 1)
  })

  t.test('a body that breaks is thrown as it came', async (t) => {
    async function* body() {
      yield head('side-band-64k')
      throw new Error('connection reset')
    }
    await t.rejects(collect(serve(body(), fakeReceive())), { message: 'connection reset' })
  })
})
