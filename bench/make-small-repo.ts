import { createHash } from 'node:crypto'
import { git } from '../test/support/git.js'

/**
 * A small model repository as a bare one: 320 objects, about 460 KB, of which most is files that do not compress. The same bytes every time.
 */
export async function makeSmallRepo(bare: string): Promise<void> {
  await git(['init', '-q', '--bare', bare])
  const parts: Buffer[] = []
  const say = (text: string | Buffer): void => void parts.push(Buffer.from(text))
  for (let i = 1; i <= 106; i++) {
    const message = `change ${i}\n`
    say(`commit refs/heads/main\nmark :${i}\ncommitter A U Thor <a@example.com> ${1_700_000_000 + i * 60} +0000\ndata ${message.length}\n${message}`)
    const content = noise(i, 3_900)
    say(`M 100644 inline file${i % 12}.bin\ndata ${content.length}\n`)
    say(content)
    say('\n')
  }
  for (const tag of ['v1', 'v2']) say(`tag ${tag}\nfrom :100\ntagger A U Thor <a@example.com> 1700010000 +0000\ndata 3\ntag\n`)
  await git(['fast-import', '--quiet'], { cwd: bare, input: Buffer.concat(parts) })
  await git(['symbolic-ref', 'HEAD', 'refs/heads/main'], { cwd: bare })
  await git(['repack', '-q', '-a', '-d', '-f'], { cwd: bare })
}

function noise(seed: number, bytes: number): Buffer {
  const blocks: Buffer[] = []
  for (let i = 0; i * 32 < bytes; i++) blocks.push(createHash('sha256').update(`${seed}:${i}`).digest())
  return Buffer.concat(blocks).subarray(0, bytes)
}
