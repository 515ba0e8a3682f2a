/** One step of a pattern. */
type Step =
  | { readonly kind: 'one'; readonly test: (byte: number) => boolean }
  | { readonly kind: 'star' } // any run without a slash
  | { readonly kind: 'deep' } // any run at all
  | { readonly kind: 'folders' } // `**/`: nothing, or any run that ends in a slash

/** A pattern of `.gitattributes` or `.gitignore`, ready to be tried. */
export type Wildmatch = (path: string) => boolean

const slash = 0x2f

/**
 * Git's path patterns: `?`, `*`, `[…]`, `\x`, and `**` where it stands between slashes or at an end. A `[` that nothing closes matches nothing.
 * Time is at most the length of the pattern times the length of the path, whatever somebody thinks up.
 *
 * Spec: gitignore(5), "PATTERN FORMAT"; git's wildmatch.c with WM_PATHNAME.
 */
export function compileWildmatch(pattern: string): Wildmatch {
  const steps = parse(Buffer.from(pattern, 'utf8'))
  if (!steps) return () => false
  return (path) => run(steps, Buffer.from(path, 'utf8'))
}

function parse(bytes: Buffer): Step[] | undefined {
  const steps: Step[] = []
  // Git compares what stands before the first wildcard by itself, and takes what follows for a pattern of its own.
  const literal = /[*?[\\]|$/.exec(bytes.toString('latin1'))!.index
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at]!
    if (byte === 0x2a) {
      let end = at
      while (bytes[end] === 0x2a) end += 1
      const isDeep = end - at >= 2 && (at === literal || bytes[at - 1] === slash) && (end === bytes.length || bytes[end] === slash)
      if (!isDeep) steps.push({ kind: 'star' })
      else if (end === bytes.length) steps.push({ kind: 'deep' })
      else steps.push({ kind: 'folders' })
      at = isDeep && end < bytes.length ? end + 1 : end
    } else if (byte === 0x3f) {
      steps.push({ kind: 'one', test: (other) => other !== slash })
      at += 1
    } else if (byte === 0x5b) {
      const bracket = parseBracket(bytes, at)
      if (!bracket) return undefined
      steps.push({ kind: 'one', test: bracket.test })
      at = bracket.end
    } else {
      if (byte === 0x5c) at += 1
      const wanted = bytes[at]
      if (wanted === undefined) return undefined
      steps.push({ kind: 'one', test: (other) => other === wanted })
      at += 1
    }
  }
  return steps
}

const classes: Readonly<Record<string, RegExp>> = {
  alnum: /[A-Za-z0-9]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[\x21-\x7e]/,
  lower: /[a-z]/,
  print: /[\x20-\x7e]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[ \t-\r]/,
  upper: /[A-Z]/,
  xdigit: /[A-Fa-f0-9]/,
}

/** What stands between `[` and `]`; no slash is ever in it. Undefined: it does not end. */
function parseBracket(bytes: Buffer, from: number): { readonly test: (byte: number) => boolean; readonly end: number } | undefined {
  const allowed = new Uint8Array(256)
  let at = from + 1
  const isNegated = bytes[at] === 0x21 || bytes[at] === 0x5e
  if (isNegated) at += 1
  for (let isFirst = true; isFirst || bytes[at] !== 0x5d; isFirst = false) {
    if (at >= bytes.length) return undefined
    const named = bytes[at] === 0x5b && bytes[at + 1] === 0x3a ? /^\[:([a-z]*):\]/.exec(bytes.toString('latin1', at, at + 12)) : null
    if (named) {
      const members = classes[named[1]!]
      if (!members) return undefined
      for (let byte = 0; byte < 128; byte++) if (members.test(String.fromCharCode(byte))) allowed[byte] = 1
      at += named[0].length
      continue
    }
    if (bytes[at] === 0x5c) at += 1
    const low = bytes[at]
    if (low === undefined) return undefined
    at += 1
    let high = low
    if (bytes[at] === 0x2d && bytes[at + 1] !== undefined && bytes[at + 1] !== 0x5d) {
      at += bytes[at + 1] === 0x5c ? 2 : 1
      if (bytes[at] === undefined) return undefined
      high = bytes[at]!
      at += 1
    }
    for (let byte = low; byte <= high; byte++) allowed[byte] = 1
  }
  return { test: (byte) => byte !== slash && (allowed[byte] === 1) !== isNegated, end: at + 1 }
}

/** All positions of the path at which the pattern may stand, step by step. */
function run(steps: readonly Step[], path: Buffer): boolean {
  let at = new Uint8Array(path.length + 1)
  at[0] = 1
  for (const step of steps) {
    const next = new Uint8Array(path.length + 1)
    let isRunning = false
    let isAlive = false
    for (let i = 0; i <= path.length; i++) {
      if (step.kind === 'one') {
        if (i > 0 && at[i - 1] === 1 && step.test(path[i - 1]!)) next[i] = 1
      } else {
        if (step.kind === 'star' && i > 0 && path[i - 1] === slash) isRunning = false
        if (step.kind === 'folders' ? at[i] === 1 || (isRunning && path[i - 1] === slash) : at[i] === 1 || isRunning) next[i] = 1
        if (at[i] === 1) isRunning = true
      }
      if (next[i] === 1) isAlive = true
    }
    if (!isAlive) return false
    at = next
  }
  return at[path.length] === 1
}
