import { createHash } from 'node:crypto'

/** All there is of looks. Colours follow the system; type is the reader's own. */
export const stylesheet = `
:root {
  color-scheme: light dark;
  --ground: #fbfaf8; --surface: #ffffff; --ink: #1d2226; --quiet: #5a646d; --line: #d9d6d0; --field: #8a8f94;
  --accent: #1f5f8b; --accent-ink: #ffffff; --good: #1e6b3a; --good-ground: #eaf5ed; --bad: #9c2317; --bad-ground: #fcedea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --surface: #1b1f23; --ink: #e6e8ea; --quiet: #a2abb3; --line: #343a40; --field: #727b84;
    --accent: #8cc4ec; --accent-ink: #0d1a24; --good: #8fd6a5; --good-ground: #16281c; --bad: #f2a196; --bad-ground: #301a17;
  }
}
*, *::before, *::after { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
.top, main { max-width: 44rem; margin: 0 auto; padding: 0 1.25rem; }
.top { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; justify-content: space-between; padding-block: 1rem; }
.top p { margin: 0; color: var(--quiet); }
.top form { display: inline; }
.brand { font-weight: 650; letter-spacing: .01em; color: var(--ink); text-decoration: none; }
main { padding-block: 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.lead { color: var(--quiet); margin: 0 0 1.5rem; }
a { color: var(--accent); }
code { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: .6rem; padding: 1.25rem; }
.field { margin: 0 0 1.25rem; }
label { display: block; font-weight: 600; margin: 0 0 .25rem; }
.hint { color: var(--quiet); font-size: .92rem; margin: .25rem 0 0; }
input, textarea { width: 100%; font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--field); border-radius: .4rem; padding: .5rem .6rem; }
input[type=file] { border-style: dashed; padding: .75rem .6rem; }
textarea { display: block; min-height: 6rem; resize: vertical; }
button { font: inherit; font-weight: 600; color: var(--accent-ink); background: var(--accent); border: 1px solid var(--accent); border-radius: .4rem; padding: .5rem 1.1rem; cursor: pointer; }
button.plain { color: var(--accent); background: none; border: 0; padding: 0; font-weight: 400; text-decoration: underline; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.notice { border: 1px solid; border-radius: .6rem; padding: .75rem 1rem; margin: 0 0 1.5rem; overflow-wrap: anywhere; white-space: pre-line; }
.notice.good { color: var(--good); background: var(--good-ground); }
.notice.bad { color: var(--bad); background: var(--bad-ground); }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: .5rem; background: var(--surface); padding: .5rem; }
@media (prefers-reduced-motion: no-preference) { button { transition: filter .15s; } button:hover { filter: brightness(1.08); } }
`.trimStart()

/** Another text, another name: so browsers may keep it for good. */
export const stylesheetName = `hub-${createHash('sha256').update(stylesheet).digest('hex').slice(0, 12)}.css`
