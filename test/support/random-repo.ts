import type { Dice } from './dice.js'
import { git } from './git.js'

/** A bare repository that grows at random: branches, merges of up to three, tags of both kinds, folders in which most stays as it was. */
export interface RandomRepo {
  /** Seconds of the newest commit; each is 100 seconds after the one before. */
  readonly now: number
  /** Names of tags so far. */
  readonly tags: readonly string[]
  /** Puts `commits` more on its branches. */
  grow(commits: number): Promise<void>
}

export const firstSeconds = 1_600_000_000

export function randomRepo(bare: string, random: Dice): RandomRepo {
  const marks: string[] = []
  const tips = new Map<string, number>()
  const tags: string[] = []
  let count = 0
  return {
    get now() {
      return firstSeconds + count * 100
    },
    tags,
    async grow(commits) {
      const lines: string[] = []
      for (let i = 0; i < commits; i++) {
        const branch = `refs/heads/${['main', 'one', 'two', 'three'][random(4)]}`
        const parents = parentsFor(branch)
        count += 1
        const mark = count
        lines.push(`commit ${branch}`, `mark :${mark}`, `committer C <c@example.com> ${firstSeconds + count * 100} +0000`, data(`change ${mark}\n`))
        parents.forEach((parent, n) => lines.push(`${n === 0 ? 'from' : 'merge'} ${nameOf(parent)}`))
        for (let files = 1 + random(3); files > 0; files--) {
          lines.push(`M 100644 inline ${['', 'a/', 'a/b/', 'c/'][random(4)]}f${random(6)}`, data(`${random(12)}\n`.repeat(1 + random(60))))
        }
        lines.push('')
        tips.set(branch, mark)
        if (random(5) === 0) {
          const name = `t${mark}`
          tags.push(name)
          if (random(2) === 0) lines.push(`tag ${name}`, `from :${mark}`, `tagger T <t@example.com> ${firstSeconds} +0000`, data('tagged\n'))
          else lines.push(`reset refs/tags/${name}`, `from :${mark}`, '')
        }
      }
      for (let mark = marks.length + 1; mark <= count; mark++) lines.push(`get-mark :${mark}`)
      const input = Buffer.from(`feature done\n${lines.join('\n')}\ndone\n`)
      const { stdout } = await git(['fast-import', '--quiet', '--force'], { cwd: bare, input })
      marks.push(...stdout.toString().split('\n').filter(Boolean))
    },
  }

  function parentsFor(branch: string): readonly number[] {
    if (count === 0) return []
    const own = tips.get(branch) ?? 1 + random(count)
    const more = Array.from({ length: random(4) === 0 ? 1 + random(2) : 0 }, () => 1 + random(count))
    return [...new Set([own, ...more])]
  }

  /** Marks live in one run only. */
  function nameOf(mark: number): string {
    return marks[mark - 1] ?? `:${mark}`
  }
}

const data = (text: string): string => `data ${text.length}\n${text}`
