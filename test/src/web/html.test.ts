import t from 'tap'
import { html } from '../../../src/web/html.js'

t.test('values are text, wherever they stand', async (t) => {
  const hostile = `<script>alert("1")</script> & 'x'\0`
  const escaped = '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;\ufffd'
  t.equal(html`<p>${hostile}</p>`.markup, `<p>${escaped}</p>`)
  t.equal(html`<a title="${hostile}">`.markup, `<a title="${escaped}">`)
  t.equal(html`${[hostile, 'b']}`.markup, `${escaped}b`)
})

t.test('only templates are markup; nothing is nothing', async (t) => {
  const item = (name: string) => html`<li>${name}</li>`
  t.equal(html`<ul>${['<a>', 'b'].map(item)}</ul>`.markup, '<ul><li>&lt;a&gt;</li><li>b</li></ul>')
  t.equal(html`[${undefined}${null}${false}${''}${0}]`.markup, '[0]')
  t.throws(() => html`${{ markup: '<b>' } as unknown as string}`, TypeError, 'what only looks like markup is none')
})
