/** One setting: `section.subsection.key`. */
export interface ConfigValue {
  /** Lower case. */
  readonly section: string
  /** Undefined when there is none; then empty and none differ. */
  readonly subsection: string | undefined
  /** Lower case. */
  readonly key: string
  /** Undefined for a key without `=`. */
  readonly value: string | undefined
}

/** Where a file stops being one. Not thrown to callers outside. */
class Unreadable extends Error {}

/**
 * The settings of a file in git's configuration format, in order, or the number of the first line that git could not read.
 * Text and results have one character a byte.
 *
 * Spec: git-config(1), "Configuration file", "Syntax".
 */
export function parseConfig(text: string): { readonly values: readonly ConfigValue[]; readonly badLine?: number } {
  const reader = new ConfigReader(text)
  const values: ConfigValue[] = []
  try {
    for (let value; (value = reader.next()) !== undefined; ) values.push(value)
    return { values }
  } catch (error) {
    if (error instanceof Unreadable) return { values, badLine: reader.line }
    throw error
  }
}

const utf8Bom = '\xef\xbb\xbf'
const whitespace = /[ \t\n\r]/
const keyCharacter = /[0-9A-Za-z-]/
const escapes: Readonly<Record<string, string>> = { t: '\t', b: '\b', n: '\n', '\\': '\\', '"': '"' }

class ConfigReader {
  readonly #text: string
  #at: number
  #section: string | undefined
  #subsection: string | undefined

  constructor(text: string) {
    // Git reads a CR before a newline as part of it, even in quotes. The last line may lack its newline.
    this.#text = `${text.replaceAll('\r\n', '\n')}\n`
    this.#at = text.startsWith(utf8Bom) ? utf8Bom.length : 0
  }

  /** Of the character read last; a newline belongs to the line it ends. */
  get line(): number {
    return this.#text.slice(0, this.#at - 1).split('\n').length
  }

  /** @throws Unreadable */
  next(): ConfigValue | undefined {
    for (;;) {
      const character = this.#take()
      if (character === '') return undefined
      if (whitespace.test(character)) continue
      if (character === '#' || character === ';') this.#skipLine()
      else if (character === '[') this.#readSection()
      else if (/[A-Za-z]/.test(character)) return this.#readValue(character)
      else throw new Unreadable()
    }
  }

  /** The next character; empty at the end. */
  #take(): string {
    const character = this.#text.charAt(this.#at)
    this.#at += 1
    return character
  }

  #skipLine(): void {
    this.#at = this.#text.indexOf('\n', this.#at)
  }

  /** `[section]`, `[section.subsection]` or `[section "Subsection"]`. */
  #readSection(): void {
    let name = ''
    let quoted: string | undefined
    for (;;) {
      const character = this.#take()
      if (character === ']') break
      if (whitespace.test(character)) {
        quoted = this.#readSubsection(character)
        break
      }
      if (character !== '.' && !keyCharacter.test(character)) throw new Unreadable()
      name += character.toLowerCase()
    }
    const dot = name.indexOf('.')
    this.#section = dot === -1 ? name : name.slice(0, dot)
    const dotted = dot === -1 ? [] : [name.slice(dot + 1)]
    const parts = quoted === undefined ? dotted : [...dotted, quoted]
    this.#subsection = parts.length === 0 ? undefined : parts.join('.')
  }

  #readSubsection(first: string): string {
    let character = first
    while (character === ' ' || character === '\t' || character === '\r') character = this.#take()
    if (character !== '"') throw new Unreadable()
    let name = ''
    while ((character = this.#take()) !== '"') {
      if (character === '\\') character = this.#take()
      if (character === '\n' || character === '') throw new Unreadable()
      name += character
    }
    if (this.#take() !== ']') throw new Unreadable()
    return name
  }

  #readValue(first: string): ConfigValue {
    let key = first.toLowerCase()
    let character = this.#take()
    for (; keyCharacter.test(character); character = this.#take()) key += character.toLowerCase()
    while (character === ' ' || character === '\t') character = this.#take()
    if (character !== '=' && character !== '\n' && character !== '') throw new Unreadable()
    const value = character === '=' ? this.#readText() : undefined
    // A setting before any section belongs to none.
    return { section: this.#section ?? '', subsection: this.#subsection, key, value }
  }

  /** Quotes may begin and end anywhere; outside of them a comment may follow and spaces at both ends do not count. */
  #readText(): string {
    let text = ''
    let trimmed = 0
    let quoted = false
    for (;;) {
      let character = this.#take()
      if (character === '\n' || character === '') {
        if (quoted) throw new Unreadable()
        return text.slice(0, trimmed)
      }
      if (!quoted && whitespace.test(character)) {
        if (text !== '') text += character
        continue
      }
      if (!quoted && (character === '#' || character === ';')) {
        this.#skipLine()
        continue
      }
      trimmed = text.length
      if (character === '"') {
        quoted = !quoted
        continue
      }
      if (character === '\\') {
        character = this.#take()
        if (character === '\n') continue
        const escaped = escapes[character]
        if (escaped === undefined) throw new Unreadable()
        character = escaped
      }
      text += character
      trimmed = text.length
    }
  }
}
