import { join } from 'node:path'
import { git, type GitResult } from './git.js'
import { gitText } from './hub-git.js'
import type { Dice } from './dice.js'

/** `topic` and what lies below it cannot be branches at once. */
const branches = ['main', 'main', 'dev', 'topic/a', 'topic/b', 'topic', 'größe', 'release/1']
const tags = ['v1', 'v2', 'v3']
const known = 'refs/remotes/hub/'
const who = 'A U Thor <author@example.com> 1700000000 +0100'

/** The same push, to the hub and to a repository of plain git. */
export interface PushedTwice {
  readonly what: string
  readonly refspecs: readonly string[]
  readonly hub: GitResult
  readonly plain: GitResult
}

/** Somebody who works on branches that others move as well. Commits are written by `git fast-import`, pushes and fetches are git's own. */
export class Person {
  readonly #folder: string
  readonly #hub: string
  readonly #plain: string
  readonly #dice: Dice

  private constructor(folder: string, hub: string, plain: string, dice: Dice) {
    this.#folder = folder
    this.#hub = hub
    this.#plain = plain
    this.#dice = dice
  }

  /** `hub`: an address; `plain`: a bare repository. */
  static async create(folder: string, hub: string, plain: string, dice: Dice): Promise<Person> {
    await git(['init', '-q', '--bare', folder])
    return new Person(folder, hub, plain, dice)
  }

  /** Mostly looks at what there is first, then changes something of it and pushes. */
  async work(): Promise<PushedTwice> {
    if (this.#dice(5) > 0) await this.fetch()
    const there = (await gitText(this.#folder, 'for-each-ref', '--format=%(refname)', known)).split('\n').filter(Boolean)
    const roll = there.length === 0 ? 0 : this.#dice(100)
    if (roll < 40) return this.#commit(there)
    if (roll < 55) return this.#merge(there)
    if (roll < 70) return this.#force(there)
    if (roll < 82) return this.#push('delete', [`:${this.#oneOf(there).replace(known, 'refs/heads/')}`])
    if (roll < 92) return this.#tag(there)
    return this.#severalAtOnce(there)
  }

  fetch(): Promise<GitResult> {
    return git(['fetch', '-q', '--prune', this.#hub, `+refs/heads/*:${known}*`, '+refs/tags/*:refs/tags/*'], { cwd: this.#folder })
  }

  async #commit(there: readonly string[]): Promise<PushedTwice> {
    const branch = this.#oneOf(branches)
    const base = there.includes(known + branch) ? known + branch : there.length > 0 && this.#dice(6) > 0 ? this.#oneOf(there) : undefined
    await this.#write('refs/work/new', base === undefined ? [] : [base], 1 + this.#dice(3))
    return this.#push('commit', [`refs/work/new:refs/heads/${branch}`])
  }

  async #merge(there: readonly string[]): Promise<PushedTwice> {
    const into = this.#oneOf(there)
    const others = new Set(Array.from({ length: 1 + this.#dice(2) }, () => this.#oneOf(there)))
    others.delete(into)
    await this.#write('refs/work/merge', [into, ...others], 1)
    return this.#push('merge', [`refs/work/merge:${into.replace(known, 'refs/heads/')}`])
  }

  /** Goes back some commits and, mostly, on from there. */
  async #force(there: readonly string[]): Promise<PushedTwice> {
    const branch = this.#oneOf(there)
    const back = await git(['rev-parse', '-q', '--verify', `${branch}~${1 + this.#dice(4)}`], { cwd: this.#folder, ok: false })
    const base = back.code === 0 ? back.stdout.toString().trim() : branch
    await this.#write('refs/work/forced', [base], this.#dice(3))
    return this.#push('force', [`+refs/work/forced:${branch.replace(known, 'refs/heads/')}`])
  }

  async #tag(there: readonly string[]): Promise<PushedTwice> {
    const name = `refs/tags/${this.#oneOf(tags)}`
    if (this.#dice(4) === 0) return this.#push('delete of a tag', [`:${name}`])
    const kind = this.#dice(3) === 0 ? [] : ['-a', '-m', `tagged ${this.#dice(1000)}`]
    await git(['tag', '-f', ...kind, 'work', this.#oneOf(there)], { cwd: this.#folder })
    await git(['update-ref', 'refs/work/tag', 'refs/tags/work'], { cwd: this.#folder })
    await git(['update-ref', '-d', 'refs/tags/work'], { cwd: this.#folder })
    return this.#push('tag', [`${this.#dice(2) === 0 ? '+' : ''}refs/work/tag:${name}`])
  }

  async #severalAtOnce(there: readonly string[]): Promise<PushedTwice> {
    await this.#write('refs/work/several', [this.#oneOf(there)], 2)
    const names = [...new Set([this.#oneOf(branches), this.#oneOf(branches), this.#oneOf(branches)])]
    const refspecs = names.map((name, i) => `${this.#dice(2) === 0 ? '+' : ''}refs/work/several${'~'.repeat(i % 2)}:refs/heads/${name}`)
    const atomic = this.#dice(2) === 0
    return this.#push(atomic ? 'several, all or nothing' : 'several', refspecs, atomic ? ['--atomic'] : [])
  }

  async #push(what: string, refspecs: readonly string[], options: readonly string[] = []): Promise<PushedTwice> {
    const push = (to: string) => git(['push', '-q', ...options, to, ...refspecs], { cwd: this.#folder, ok: false })
    return { what, refspecs, hub: await push(this.#hub), plain: await push(this.#plain) }
  }

  /** So many commits, the first of them upon all the parents; none: the ref is where the first parent is. */
  async #write(ref: string, parents: readonly string[], count: number): Promise<void> {
    const parts: (string | Buffer)[] = [`reset ${ref}\n`, parents.length > 0 ? `from ${parents[0]}^0\n\n` : '\n']
    for (let i = 0; i < count; i++) {
      const message = `change ${this.#dice(1e9)}\n`
      parts.push(`commit ${ref}\ncommitter ${who}\ndata ${message.length}\n${message}`)
      if (i === 0) for (const parent of parents.slice(1)) parts.push(`merge ${parent}^0\n`)
      for (let files = 1 + this.#dice(3); files > 0; files--) parts.push(...this.#file())
    }
    const { code, stderr } = await git(['fast-import', '--quiet', '--force'], {
      cwd: this.#folder,
      input: Buffer.concat(parts.map((part) => Buffer.from(part))),
      ok: false,
    })
    if (code !== 0) throw new Error(`git fast-import: ${stderr}`)
  }

  #file(): (string | Buffer)[] {
    const path = join(`folder${this.#dice(4)}`, `file${this.#dice(10)}`)
    const bytes = this.#bytes()
    return [`M ${this.#dice(8) === 0 ? '100755' : '100644'} inline ${path}\ndata ${bytes.length}\n`, bytes, '\n']
  }

  /** Text that others have as well, text of one's own, now and then too much of it for a pack in the database. */
  #bytes(): Buffer {
    const roll = this.#dice(20)
    if (roll < 5) return Buffer.from(`one of few ${this.#dice(10)}\n`)
    if (roll < 19)
      return Buffer.from(Array.from({ length: this.#dice(200) }, (_, i) => `line ${i} ${i % 7 === 0 ? this.#dice(1000) : ''}\n`).join(''))
    return Buffer.from(Array.from({ length: 150_000 }, () => this.#dice(256)))
  }

  #oneOf<T>(things: readonly T[]): T {
    return things[this.#dice(things.length)]!
  }
}
