/** Markup that may go out as it is. Only `html` makes it. */
export class Html {
  readonly markup: string
  private constructor(markup: string) {
    this.markup = markup
  }

  static join(strings: readonly string[], values: readonly HtmlValue[]): Html {
    return new Html(strings.reduce((markup, string, i) => markup + render(values[i - 1]) + string))
  }
}

/** What may stand in a template. `undefined`, `null` and `false` are nothing. */
export type HtmlValue = Html | string | number | undefined | null | false | readonly HtmlValue[]

/** Markup with its values escaped, in text and in quoted attributes alike: `` html`<a href="${url}">${name}</a>` ``. */
export const html = (strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html => Html.join(strings, values)

function render(value: HtmlValue): string {
  if (value === undefined || value === null || value === false) return ''
  if (value instanceof Html) return value.markup
  if (typeof value === 'string' || typeof value === 'number') return escapeHtml(String(value))
  return value.map(render).join('')
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;', '\0': '\ufffd' }

/** Text as it may stand in markup. */
const escapeHtml = (text: string): string => text.replace(/[&<>"'\0]/g, (character) => entities[character]!)
