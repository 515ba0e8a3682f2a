import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { git, gitEnvironment } from '../test/support/git.js'

const modules = 40
const filesEach = 12

/**
 * A history as a busy project has it, as a bare repository: 480 source files of 5 to 25 KB in deep folders, a few lines of one of them changed
 * in every commit, a merge in every ten. About six objects a commit; with a payload two more, one of them so many bytes that do not compress
 * well. The same bytes every time; packed by git as it packs by itself.
 */
export async function makeBigRepo(bare: string, commits: number, payloadBytes = 0): Promise<void> {
  await git(['init', '-q', '--bare', bare])
  const child = spawn('git', ['fast-import', '--quiet', '--done'], { cwd: bare, env: gitEnvironment(), stdio: ['pipe', 'ignore', 'inherit'] })
  const exited = once(child, 'exit')
  for (const part of history(commits, payloadBytes)) if (!child.stdin.write(part)) await once(child.stdin, 'drain')
  child.stdin.end()
  const [code] = await exited
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`)
  await git(['symbolic-ref', 'HEAD', 'refs/heads/main'], { cwd: bare })
  await git(['repack', '-q', '-a', '-d', ...(payloadBytes === 0 ? ['-f'] : [])], { cwd: bare })
}

function* history(commits: number, payloadBytes: number): Generator<string> {
  let seed = 42
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return Math.floor((seed / 0x80000000) * below)
  }
  const words = Array.from(
    { length: 500 },
    (_, i) => `${['read', 'write', 'open', 'check', 'find'][i % 5]}${['Tree', 'Pack', 'Blob', 'Ref', 'Index'][(i >> 2) % 5]}${i}`,
  )
  const line = (): string => `  const ${words[random(500)]} = await ${words[random(500)]}(${words[random(500)]}, { limit: ${random(1000)} })`
  const files = Array.from({ length: modules * filesEach }, () => Array.from({ length: 80 + random(280) }, line))
  for (let i = 1; i <= commits; i++) {
    const onSide = i % 10 >= 5 && i % 10 < 8
    const message = `change ${i}: ${words[random(500)]}\n\nBecause of reason ${i % 97}.\n`
    yield `commit refs/heads/${onSide ? 'side' : 'main'}\nmark :${i}\ncommitter A U Thor <author@example.com> ${1_600_000_000 + i * 60} +0200\ndata ${message.length}\n${message}`
    if (i > 1 && i % 10 === 5) yield `from :${i - 1}\n`
    else if (i > 10 && i % 10 === 8) yield `from :${i - 4}\nmerge :${i - 1}\n`
    const at = random(files.length)
    const lines = files[at]!
    for (let k = 0; k < 3; k++) lines[random(lines.length)] = line()
    if (random(8) === 0) lines.splice(random(lines.length), 0, line(), line())
    const content = `${lines.join('\n')}\n`
    if (payloadBytes > 0) {
      let payload = ''
      while (payload.length < payloadBytes) payload += random(0x40000000).toString(36)
      yield `M 100644 inline data/part${i % 100}.txt\ndata ${payload.length}\n${payload}\n`
    }
    yield `M 100644 inline src/module${Math.floor(at / filesEach)}/lib/file${at % filesEach}.ts\ndata ${content.length}\n${content}\n`
  }
  yield 'done\n'
}
