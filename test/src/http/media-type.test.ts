import t from 'tap'
import { isShown, mediaType } from '../../../src/http/media-type.js'

t.test('types by name', async (t) => {
  const cases: readonly [names: string, type: string][] = [
    ['README.md README LICENSE .gitattributes a.b/Dockerfile x.TXT data.csv train.jsonl model.py conf.yaml', 'text/plain; charset=utf-8'],
    ['config.json tokenizer.JSON', 'application/json; charset=utf-8'],
    ['cat.png', 'image/png'],
    ['cat.JPG cat.jpeg', 'image/jpeg'],
    ['talk.wav', 'audio/wav'],
    ['clip.mp4', 'video/mp4'],
    ['paper.pdf', 'application/pdf'],
    ['model.safetensors pytorch_model.bin a.wasm a.swf a.exe noextension x. . a.constructor a.__proto__', 'application/octet-stream'],
  ]
  for (const [names, type] of cases) for (const name of names.split(' ')) t.equal(mediaType(name.split('/').at(-1)!), type, name)
})

t.test('nothing that could run is called what it is', async (t) => {
  const names =
    'html htm xhtml xht shtml svg svgz xml xsl xslt rss atom rdf mathml mml js mjs cjs css htc swf jar hta mht mhtml webarchive manifest appcache'
  for (const extension of names.split(' ')) {
    for (const name of [`x.${extension}`, `x.${extension.toUpperCase()}`, `x.png.${extension}`]) {
      t.match(mediaType(name), /^(text\/plain; charset=utf-8|application\/octet-stream)$/, name)
    }
  }
})

t.test('what a browser shows by itself, and what it should rather save', async (t) => {
  for (const name of ['a.txt', 'a.json', 'a.png', 'a.mp3', 'a.mp4']) t.equal(isShown(mediaType(name)), true, name)
  for (const name of ['a.pdf', 'a.zip', 'a.bin', 'a.woff2']) t.equal(isShown(mediaType(name)), false, name)
})
