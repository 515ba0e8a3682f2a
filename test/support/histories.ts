import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { git } from './git.js'

/**
 * Writes a repository of real shape into an empty bare one by `git fast-import`: commits on several branches, merges, renames,
 * binaries and deep trees. Deterministic. Every commit makes about four objects.
 */
export async function importHistory(bare: string, commits: number): Promise<void> {
  const child = spawn('git', ['fast-import', '--quiet', '--done'], { cwd: bare, stdio: ['pipe', 'ignore', 'inherit'] })
  const exited = once(child, 'exit')
  for (const part of fastImportStream(commits)) if (!child.stdin.write(part)) await once(child.stdin, 'drain')
  child.stdin.end()
  const [code] = await exited
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`)
  await git(['symbolic-ref', 'HEAD', 'refs/heads/main'], { cwd: bare })
}

function* fastImportStream(commits: number): Generator<string | Buffer> {
  let seed = 42
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return Math.floor((seed / 0x80000000) * below)
  }
  const who = (i: number) => `committer A U Thor <author@example.com> ${1_600_000_000 + i * 60} +0200\n`
  for (let i = 1; i <= commits; i++) {
    const onSide = i % 10 >= 5 && i % 10 < 8
    const branch = onSide ? 'refs/heads/side' : 'refs/heads/main'
    yield `commit ${branch}\nmark :${i}\n${who(i)}data ${message(i).length}\n${message(i)}`
    if (i > 1 && i % 10 === 5) yield `from :${i - 1}\n`
    else if (i > 10 && i % 10 === 8) yield `from :${i - 4}\nmerge :${i - 1}\n`
    const path = `src/module${random(40)}/part${random(12)}/deep/er/file${random(25)}.ts`
    const lines = Array.from({ length: 5 + random(60) }, (_, line) => `line ${line} of change ${i - random(3)}: ${random(1000)}\n`).join('')
    yield `M 100644 inline ${path}\ndata ${lines.length}\n${lines}\n`
    if (i % 50 === 0) yield `R ${path} renamed/${path}.${i}\n`
    if (i % 200 === 1) {
      const binary = Buffer.from(Array.from({ length: 5000 }, () => random(256)))
      yield `M 100755 inline bin/tool${random(20)}\ndata ${binary.length}\n`
      yield binary
      yield '\n'
    }
    if (i % 500 === 0) yield `tag v${i}\nfrom :${i}\ntagger A U Thor <author@example.com> ${1_600_000_000 + i * 60} +0000\ndata 3\ntag\n`
  }
  yield 'done\n'
}

const message = (i: number): string => `change ${i}\n\nBecause of reason ${i % 97}.\n`
