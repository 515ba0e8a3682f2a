import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { commitLinks, encodeCommit, parseCommit, type Commit } from '../../../protocol/objects/commit.js'
import type { Oid } from '../../../protocol/types.js'
import { mutated, seeded } from '../../support/fsck.js'
import { git, type GitOptions } from '../../support/git.js'

const folder = t.testdir()
const cwd = join(folder, 'work')
const run = async (args: string[], options: GitOptions = {}): Promise<Buffer> => (await git(args, { cwd, ...options })).stdout
const line = async (...args: string[]): Promise<string> => (await run(args)).toString().trim()

/** Signs anything, with a signature that nobody could check. */
const signer = join(folder, 'signer.sh')
const signature = '-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQ\n=abcd\n-----END PGP SIGNATURE-----\n'

/** A history of real git with everything a commit can have: merges, an octopus, signatures, a merged tag, ISO-8859-1, no message. */
const commits = await (async (): Promise<Map<string, Buffer>> => {
  await git(['init', '-q', cwd])
  await writeFile(signer, `#!/bin/sh\ncat >/dev/null\nprintf '\\n[GNUPG:] SIG_CREATED D\\n' >&2\nprintf -- '${signature.replaceAll('\n', '\\n')}'\n`)
  await chmod(signer, 0o755)
  const signed = ['-c', `gpg.program=${signer}`]
  const found = new Map<string, Buffer>()
  const keep = async (what: string): Promise<void> => void found.set(what, await run(['cat-file', 'commit', 'HEAD']))
  const empty = ['commit', '-q', '--allow-empty', '--allow-empty-message', '--cleanup=verbatim', '-m']
  await run([...empty, 'root\n'])
  await keep('root')
  await run([...empty.slice(0, -1), '--message='])
  await keep('without a message')
  const bare = await run(['commit-tree', 'HEAD^{tree}', '-p', 'HEAD'], { input: Buffer.from('no newline at the end') })
  found.set('no newline', await run(['cat-file', 'commit', bare.toString().trim()]))
  await run([...empty, '\n\n indented\n\n\ttabs\r\nemoji 🌲 é\n'], {
    env: { GIT_AUTHOR_NAME: 'Ünï Cödé', GIT_AUTHOR_DATE: '@1 -0930', GIT_COMMITTER_DATE: '@4102444799 +1400' },
  })
  await keep('odd text')
  await run([...signed, ...empty.slice(0, 2), '-S', ...empty.slice(2), 'signed\n'])
  await keep('gpgsig')
  const latin1 = Buffer.from('Größe und Maß\n', 'latin1')
  const name = 'M\xfcller'
  await run(['-c', 'i18n.commitEncoding=ISO-8859-1', 'commit', '-q', '--allow-empty', '-F', '-'], {
    input: latin1,
    env: { GIT_AUTHOR_NAME: Buffer.from(name, 'utf8').toString() },
  })
  await keep('encoding')
  for (const branch of ['one', 'two', 'three']) {
    await run(['checkout', '-q', '-b', branch, 'main'])
    await run([...empty, `${branch}\n`])
  }
  await run([...signed, 'tag', '-s', '-m', 'for the merge', 'signed-tag', 'one'])
  await run(['checkout', '-q', 'main'])
  await run(['merge', '-q', '--no-ff', '-m', 'merge\n', 'one'])
  await keep('merge')
  await run(['reset', '-q', '--hard', 'HEAD^'])
  await run([...signed, 'merge', '-q', '--no-ff', '--no-verify-signatures', '-m', 'merge of a tag\n', 'signed-tag'])
  await keep('mergetag')
  await run(['merge', '-q', '-m', 'octopus\n', 'two', 'three'])
  await keep('octopus')
  return found
})()

t.test('real commits come out as git shows them, and go back to the same bytes', async (t) => {
  t.equal(commits.size, 9)
  for (const [what, data] of commits) {
    const commit = parseCommit(data)
    t.equal(encodeCommit(commit).toString('latin1'), data.toString('latin1'), what)
    t.same(commitLinks(data), { tree: commit.tree, parents: commit.parents, seconds: commit.committer.seconds }, what)
  }
  const parsed = (what: string): Commit => parseCommit(commits.get(what)!)
  t.match(parsed('root'), {
    parents: [],
    message: 'root\n',
    author: { name: 'A U Thor', email: 'author@example.com', seconds: 1_700_000_000, timezone: '+0000' },
  })
  t.equal(parsed('root').tree, '4b825dc642cb6eb9a060e54bf8d69288fbee4904')
  t.notHas(parsed('root'), { headers: [], encoding: 'UTF-8' })
  t.equal(parsed('without a message').message, '')
  t.equal(parsed('no newline').message, 'no newline at the end')
  t.match(parsed('odd text'), {
    message: '\n\n indented\n\n\ttabs\r\nemoji 🌲 é\n',
    author: { name: 'Ünï Cödé', seconds: 1, timezone: '-0930' },
    committer: { seconds: 4_102_444_799, timezone: '+1400' },
  })
  t.same(parsed('gpgsig').headers, [{ key: 'gpgsig', value: signature.trimEnd() }])
  t.match(parsed('encoding'), { encoding: 'ISO-8859-1', message: 'Größe und Maß\n' })
  t.equal(parsed('merge').parents.length, 2)
  t.equal(parsed('octopus').parents.length, 3)
  const [mergetag] = parsed('mergetag').headers!
  t.equal(mergetag!.key, 'mergetag')
  t.match(mergetag!.value, /^object [0-9a-f]{40}\ntype commit\ntag signed-tag\ntagger C O Mitter .*\n\nfor the merge\n-----BEGIN/)
})

t.test('what is written, git reads back', async (t) => {
  const commit: Commit = {
    tree: (await line('rev-parse', 'HEAD^{tree}')) as Oid,
    parents: [(await line('rev-parse', 'HEAD')) as Oid],
    author: { name: 'Zoë', email: 'zoe@example.com', seconds: 1_600_000_000, timezone: '+0545' },
    committer: { name: '', email: '', seconds: 0, timezone: '-0000' },
    message: 'subject\n\nbody\n',
    headers: [{ key: 'x-note', value: 'two\n\nlines' }],
  }
  const data = encodeCommit(commit)
  t.same(parseCommit(data), commit)
  const oid = (await run(['hash-object', '-w', '-t', 'commit', '--stdin'], { input: data })).toString().trim()
  t.equal(await line('show', '-s', '--format=%an|%ae|%at|%ct|%s|%b', oid), 'Zoë|zoe@example.com|1600000000|0|subject|body')
  await run(['fsck', '--strict', oid])
})

t.test('what git would refuse is not written', async (t) => {
  const good = parseCommit(commits.get('root')!)
  const bad: readonly (readonly [Partial<Commit>, string | RegExp, string?])[] = [
    [{ tree: 'x' as Oid }, 'the tree of the commit is not 40 hex digits on a line'],
    [{ parents: ['0'.repeat(40) as Oid] }, 'a parent of the commit is the null object id'],
    [{ author: { ...good.author, name: 'a<b' } }, 'neither "a<b" nor "author@example.com" may hold < > NUL or a newline'],
    [{ author: { ...good.author, email: 'a\nb' } }, /may hold < > NUL or a newline/],
    [{ committer: { ...good.committer, seconds: -1 } }, '-1 is not a date in seconds'],
    [{ committer: { ...good.committer, seconds: 1.5 } }, '1.5 is not a date in seconds'],
    [{ committer: { ...good.committer, seconds: 8_640_000_000_001 } }, '8640000000001 is not a date in seconds'],
    [{ committer: { ...good.committer, timezone: 'Z' } }, '"Z" is not a time zone'],
    [{ committer: { ...good.committer, timezone: '+00000' } }, '"+00000" is not a time zone'],
    [{ message: 'a\0b' }, 'commit has a NUL byte in its message'],
    [{ headers: [{ key: 'a b', value: '' }] }, '"a b" is not the name of a header'],
    [{ headers: [{ key: '', value: '' }] }, '"" is not the name of a header'],
    [{ headers: [{ key: 'a', value: '\0' }] }, /^commit has a NUL byte in its header, at byte \d+$/],
    [{ encoding: 'EUC-JP' }, 'this text cannot be written in "EUC-JP"', 'unsupported'],
    [{ encoding: 'latin1', message: '漢' }, 'this text cannot be written in "latin1"', 'unsupported'],
  ]
  for (const [change, message, code = 'bad-object'] of bad) t.throws(() => encodeCommit({ ...good, ...change }), { code, message })
})

t.test('a value cannot end the header or begin another line of it', async (t) => {
  const good = parseCommit(commits.get('root')!)
  const data = encodeCommit({ ...good, headers: [{ key: 'note', value: '\n\ncommitter X <x@x> 1 +0000\nparent y' }] })
  t.same(parseCommit(data).headers, [{ key: 'note', value: '\n\ncommitter X <x@x> 1 +0000\nparent y' }])
  t.same(commitLinks(data).parents, [])
  t.equal(commitLinks(data).seconds, 1_700_000_000)
})

t.test('text in other charsets is read, and in unknown ones as UTF-8', async (t) => {
  const data = (charset: string, bytes: string): Buffer => {
    const [head, tail] = commits.get('root')!.toString('latin1').split('\n\n', 2)
    return Buffer.from(`${head}\nencoding ${charset}\n\n${bytes}${tail}`, 'latin1')
  }
  t.equal(parseCommit(data('EUC-JP', '\xb4\xc1\xbb\xfa ')).message, '漢字 root\n')
  t.equal(parseCommit(data('windows-1252', '\x80 ')).message, '€ root\n')
  t.equal(parseCommit(data('latin-1', '\x80\xe4 ')).message, '\x80ä root\n')
  t.equal(parseCommit(data('no-such-thing', '\xc3\xa4 ')).message, 'ä root\n')
  t.equal(parseCommit(data('', '\xff ')).message, '\ufffd root\n')
})

t.test('odd old commits are read with gaps filled', async (t) => {
  const { tree } = parseCommit(commits.get('root')!)
  const read = (ident: string): unknown => parseCommit(Buffer.from(`tree ${tree}\nauthor ${ident}\ncommitter ${ident}\n`)).author
  t.same(read('A'), { name: 'A', email: '', seconds: 0, timezone: '+0000' })
  t.same(read('A <a@b>'), { name: 'A', email: 'a@b', seconds: 0, timezone: '+0000' })
  t.same(read('A <a@b>5 +0100'), { name: 'A', email: 'a@b', seconds: 5, timezone: '+0100' })
  t.same(read('A <a@b> 5 +051800'), { name: 'A', email: 'a@b', seconds: 5, timezone: '+0000' })
  t.same(read('A <a@b>  5 +0100'), { name: 'A', email: 'a@b', seconds: 5, timezone: '+0100' })
  t.same(read('A <a@b> 5 GMT'), { name: 'A', email: 'a@b', seconds: 5, timezone: '+0000' })
  t.same(read('<a@b> 5 -0000'), { name: '', email: 'a@b', seconds: 5, timezone: '-0000' })
})

t.test('a line that continues an ident is no part of it', async (t) => {
  const ident = 'A <a@b> 5 +0100\n B <c@d> 6 +0200'
  const data = Buffer.from(`tree ${'1'.repeat(40)}\nauthor A <a@b> 5 +0100\ncommitter ${ident}\n\n`)
  t.same(parseCommit(data).committer, { name: 'A', email: 'a@b', seconds: 5, timezone: '+0100' })
  t.equal(commitLinks(data).seconds, 5)
})

t.test('commitLinks refuses what is stored wrong', async (t) => {
  const tree = `tree ${'1'.repeat(40)}`
  const cases = ['', 'tree', tree, `${tree}x`, `tree ${'g'.repeat(40)}\n`, `tree ${'A'.repeat(40)}\n`, `parent ${'1'.repeat(40)}\n`]
  for (const text of cases) t.throws(() => commitLinks(Buffer.from(text)), { code: 'corrupt', message: 'a stored commit has no tree' }, text)
  for (const text of ['parent ', `parent ${'1'.repeat(39)}\n`, `parent ${'1'.repeat(41)}\n`]) {
    t.throws(() => commitLinks(Buffer.from(`${tree}\n${text}`)), { code: 'corrupt', message: 'a stored commit has a parent that is none' }, text)
  }
  t.same(commitLinks(Buffer.from(`${tree}\n`)), { tree: '1'.repeat(40), parents: [], seconds: 0 })
})

t.test('10,000 damaged commits: only ProtocolErrors, and both readers agree on links and date', async (t) => {
  const below = seeded(41)
  const whole = [...commits.values()]
  let read = 0
  for (let i = 0; i < 10_000; i++) {
    const data = mutated(whole[i % whole.length]!, below, [...Buffer.from('<> \n\0+-01af\nencoding utf-16')])
    let commit: Commit
    try {
      commit = parseCommit(data)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      try {
        commitLinks(data)
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
      }
      continue
    }
    read += 1
    const links = commitLinks(data)
    if (links.tree !== commit.tree || links.parents.join() !== commit.parents.join() || links.seconds !== commit.committer.seconds) {
      t.same(links, { tree: commit.tree, parents: commit.parents, seconds: commit.committer.seconds }, JSON.stringify(data.toString('latin1')))
    }
  }
  t.ok(read > 1500, String(read))
})

t.test('what was parsed is the same after encoding and parsing again', async (t) => {
  const below = seeded(43)
  let compared = 0
  for (let i = 0; i < 3000; i++) {
    const data = mutated(commits.get(i % 2 === 0 ? 'mergetag' : 'odd text')!, below, [...Buffer.from('<> \n+-01af\n')])
    let commit: Commit, again: Buffer
    try {
      commit = parseCommit(data)
      again = encodeCommit(commit)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      continue
    }
    compared += 1
    const second = parseCommit(again)
    if (JSON.stringify(second) !== JSON.stringify(commit)) t.same(second, commit)
    if (!encodeCommit(second).equals(again)) t.equal(encodeCommit(second).toString('latin1'), again.toString('latin1'))
  }
  t.ok(compared > 500, String(compared))
})
