import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import tap from 'tap'

/*
 * What the kernel was asked for, in what order: a store that forgets one sync passes every other test and loses bytes at the next power cut.
 */

const hex = 'ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73'
const traced = 'trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,openat'
const modules = ['filesystem-blob-store', 'keys'].map((name) => fileURLToPath(new URL(`../../../src/storage/${name}.js`, import.meta.url)))

/** A finished system call. Lines are where it began and ended in the log: threads interleave. */
interface Call {
  readonly name: string
  /** Paths, open files by `-y` included, in order. */
  readonly paths: readonly string[]
  readonly failed: boolean
  readonly began: number
  readonly ended: number
}

function parseTrace(text: string): Call[] {
  const begun = new Map<string, { name: string; args: string; began: number }>()
  const calls: Call[] = []
  const add = (name: string, args: string, result: string, began: number, ended: number) => {
    const paths = [...args.matchAll(/"((?:[^"\\]|\\.)*)"|\d+<([^>]*)>/g)].map((match) => match[1] ?? match[2]!)
    calls.push({ name, paths, failed: result.startsWith('-1'), began, ended })
  }
  for (const [line, content] of text.split('\n').entries()) {
    const whole = /^(\d+)\s+(\w+)\((.*)\)\s+= (.*)$/.exec(content)
    const unfinished = /^(\d+)\s+(\w+)\((.*)<unfinished \.\.\.>$/.exec(content)
    const resumed = /^(\d+)\s+<\.\.\. (\w+) resumed>(.*)\)\s+= (.*)$/.exec(content)
    if (whole) add(whole[2]!, whole[3]!, whole[4]!, line, line)
    else if (unfinished) begun.set(unfinished[1]!, { name: unfinished[2]!, args: unfinished[3]!, began: line })
    else if (resumed) {
      const start = begun.get(resumed[1]!)
      if (start) add(start.name, start.args + resumed[3]!, resumed[4]!, start.began, line)
    }
  }
  return calls
}

/** What `script` asked for, with `store`, `root` and the keys at hand; it says where it is by `mark(name)`. */
function trace(root: string, script: string): Call[] {
  const log = join(root, 'strace.log')
  const source = `
    import { writeFileSync } from 'node:fs'
    const { createFilesystemBlobStore } = await import(${JSON.stringify(modules[0])})
    const { packKey, sidecarKey, stagingKey } = await import(${JSON.stringify(modules[1])})
    const root = ${JSON.stringify(root)}
    const store = createFilesystemBlobStore({ directory: root + '/blobs' })
    const sha256 = Buffer.from('${hex}', 'hex')
    const mark = (name) => writeFileSync(root + '/mark-' + name, '')
    async function* chunks() { yield Buffer.from('con'); yield Buffer.from('tent') }
    ${script}
  `
  const run = spawnSync('strace', ['-f', '-y', '-e', traced, '-o', log, process.execPath, '--input-type=module', '-e', source], { encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`strace ended with ${run.status ?? run.signal}: ${run.stderr}`)
  return parseTrace(readFileSync(log, 'utf8'))
}

/** Checks that each of the steps ended before the next began; what happens in between does not matter. */
function inOrder(
  t: Pick<typeof tap, 'ok'>,
  calls: readonly Call[],
  steps: readonly (readonly [what: string, matches: (call: Call) => boolean])[],
): void {
  let after = -1
  for (const [what, matches] of steps) {
    const found = calls.find((call) => call.began > after && !call.failed && matches(call))
    t.ok(found, found ? what : `${what}, after line ${after} of the trace`)
    if (!found) return
    after = found.ended
  }
}

const isSync = ({ name }: Call) => name === 'fsync' || name === 'fdatasync'
const syncOf = (path: string) => (call: Call) => isSync(call) && call.paths[0] === path
const syncBelow = (folder: string) => (call: Call) => isSync(call) && call.paths[0]!.startsWith(`${folder}/`)
const nameOf = (path: string) => (call: Call) => /^(rename|link)/.test(call.name) && call.paths.at(-1) === path
const renameOf = (path: string) => (call: Call) => call.name.startsWith('rename') && call.paths.at(-1) === path
const madeFolder = (path: string) => (call: Call) => call.name.startsWith('mkdir') && call.paths.at(-1) === path
const mark = (name: string) => (call: Call) => call.name === 'openat' && call.paths.some((path) => basename(path) === `mark-${name}`)

const probe = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'])
const skip = probe.status === 0 ? false : 'system calls cannot be traced here (strace is missing or forbidden)'

tap.test('put syncs the file, names it, syncs every folder that is new, and only then comes back', { skip }, async (t) => {
  for (const options of ['{}', '{ ifAbsent: true }']) {
    const root = t.testdir() // emptied
    const blobs = join(root, 'blobs')
    const own = join(blobs, 'packs')
    const calls = trace(
      root,
      `await store.put(packKey(sha256), chunks(), ${options})
       mark('put')`,
    )
    const target = join(own, 'ed', `${hex}.pack`)
    inOrder(t, calls, [
      ['the file is synced', syncBelow(join(blobs, 'tmp'))],
      ['then it gets its name', nameOf(target)],
      ['then its folder is synced', syncOf(join(own, 'ed'))],
      ['and all that before put comes back', mark('put')],
    ])
    for (const folder of [own, join(own, 'ed')]) {
      inOrder(t, calls, [
        [`${basename(folder)} is made`, madeFolder(folder)],
        ['its parent is synced', syncOf(join(folder, '..'))],
        ['before put comes back', mark('put')],
      ])
    }
  }
})

tap.test('putFile syncs the file, moves it, syncs every folder that is new, and only then comes back', { skip }, async (t) => {
  const root = t.testdir({ spooled: 'content' })
  const folder = join(root, 'blobs', 'packs', 'ed')
  const calls = trace(
    root,
    `await store.putFile(packKey(sha256), root + '/spooled', sha256)
     mark('put')`,
  )
  inOrder(t, calls, [
    ['the file is synced', syncOf(join(root, 'spooled'))],
    ['then it is moved', renameOf(join(folder, `${hex}.pack`))],
    ['then its folder is synced', syncOf(folder)],
    ['before putFile comes back', mark('put')],
  ])
  inOrder(t, calls, [
    ['the folder is made', madeFolder(folder)],
    ['its parent is synced', syncOf(join(root, 'blobs', 'packs'))],
    ['before putFile comes back', mark('put')],
  ])
})

tap.test('who finds the bytes there syncs their folder, and the one above it, before relying on them', { skip }, async (t) => {
  const root = t.testdir({ spooled: 'content', blobs: { packs: { ed: { [`${hex}.pack`]: 'content' } } } })
  const packs = join(root, 'blobs', 'packs')
  const calls = trace(
    root,
    `await store.put(packKey(sha256), chunks(), { ifAbsent: true })
     mark('put')
     await store.putFile(packKey(sha256), root + '/spooled', sha256)
     mark('file')`,
  )
  inOrder(t, calls, [
    ['the parent is synced', syncOf(packs)],
    ['the folder is synced', syncOf(join(packs, 'ed'))],
    ['before put comes back', mark('put')],
    ['the folder is synced again', syncOf(join(packs, 'ed'))],
    ['before putFile comes back', mark('file')],
  ])
  t.notOk(calls.some(nameOf(join(packs, 'ed', `${hex}.pack`))), 'nothing was written in its place')
})

tap.test('a promoted blob, a deleted one and a part are synced as well', { skip }, async (t) => {
  const root = t.testdir()
  const blobs = join(root, 'blobs')
  const calls = trace(
    root,
    `await store.stage(stagingKey('one'), chunks())
     mark('staged')
     await store.promote(stagingKey('one'), packKey(sha256))
     mark('promoted')
     await store.delete(packKey(sha256))
     mark('deleted')
     const upload = await store.begin(stagingKey('two'))
     writeFileSync(root + '/upload', upload.id)
     mark('begun')
     await store.part(upload, 1, chunks())
     mark('part')`,
  )
  const folder = join(blobs, 'packs', 'ed')
  const upload = join(blobs, 'multipart', readFileSync(join(root, 'upload'), 'utf8'))
  inOrder(t, calls, [
    ['staged bytes are synced', syncBelow(join(blobs, 'tmp'))],
    ['the staged one is confirmed', mark('staged')],
    ['it gets its final name', ({ name, paths }) => name.startsWith('link') && paths.at(-1) === join(folder, `${hex}.pack`)],
    ['the final folder is synced', syncOf(folder)],
    ['it is confirmed', mark('promoted')],
    ['it is removed', ({ name, paths }) => name.startsWith('unlink') && paths.at(-1) === join(folder, `${hex}.pack`)],
    ['its folder is synced', syncOf(folder)],
    ['the deletion is confirmed', mark('deleted')],
    ['an upload begins', madeFolder(upload)],
    ['its folder is synced', syncOf(join(blobs, 'multipart'))],
    ['it is confirmed', mark('begun')],
    ['the bytes of a part are synced', syncBelow(join(blobs, 'tmp'))],
    ['the part gets its name', ({ name, paths }) => name.startsWith('rename') && paths.at(-1)!.startsWith(`${upload}/`)],
    ['the upload is synced', syncOf(upload)],
    ['the part is confirmed', mark('part')],
  ])
})

tap.test('the trace is read right: a sync that is missing or late is noticed', async (t) => {
  const log = [
    '7 openat(AT_FDCWD</x>, "/d/tmp/1", O_WRONLY) = 5</d/tmp/1>',
    '8 fsync(5</d/tmp/1> <unfinished ...>',
    '7 rename("/d/tmp/1", "/d/a/b") = 0',
    '8 <... fsync resumed>) = 0',
    '8 rename("/d/tmp/2", "/d/a/c") = -1 ENOENT (No such file or directory)',
    '9 fsync(6</d/a>) = 0',
    '',
  ].join('\n')
  const calls = parseTrace(log)
  t.same(
    calls.map(({ name, failed, began, ended }) => [name, failed, began, ended]),
    [
      ['openat', false, 0, 0],
      ['rename', false, 2, 2],
      ['fsync', false, 1, 3],
      ['rename', true, 4, 4],
      ['fsync', false, 5, 5],
    ],
  )
  const after = calls.find(syncOf('/d/tmp/1'))!.ended
  t.notOk(
    calls.some((call) => call.began > after && !call.failed && nameOf('/d/a/b')(call)),
    'the rename did not wait for the sync',
  )
  t.ok(calls.some((call) => call.began > after && syncOf('/d/a')(call)))
})
