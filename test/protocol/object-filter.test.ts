import t from 'tap'
import { parseFilter } from '../../protocol/object-filter.js'

const none = Number.POSITIVE_INFINITY

t.test('what each filter leaves out', async (t) => {
  const cases: readonly [spec: string, blobBytes: number, treeDepth: number][] = [
    ['blob:none', 0, none],
    ['blob:limit=0', 0, none],
    ['blob:limit=1000', 1000, none],
    ['blob:limit=1k', 1024, none],
    ['blob:limit=3M', 3_145_728, none],
    ['blob:limit=2g', 2_147_483_648, none],
    ['tree:0', none, 0],
    ['tree:7', none, 7],
    ['combine:blob:none', 0, none],
    ['combine:tree:2+blob:limit=10', 10, 2],
    ['combine:tree:5+tree:3+blob:limit=1k+blob:limit=9', 9, 3],
    ['combine:tree%3A2+%62lob%3Anone', 0, 2],
    ['combine:combine:tree%3a4%2bblob:limit=5+tree:6', 5, 4],
  ]
  for (const [spec, blobBytes, treeDepth] of cases) t.same(parseFilter(spec), { blobBytes, treeDepth }, spec)
})

t.test('what is not offered, and what is no filter, is refused by name', async (t) => {
  const refused = [
    '',
    'blob',
    'blob:none ',
    'blob:nonesuch',
    'blob:limit=',
    'blob:limit=-1',
    'blob:limit=1kk',
    'blob:limit=1t',
    'blob:limit=0x10',
    'blob:limit=1e3',
    'blob:limit=9999999999999999',
    'tree:',
    'tree:-1',
    'tree:1.5',
    'sparse:oid=main:file',
    'sparse:path=file',
    'object:type=commit',
    'auto',
    'combine:',
    'combine:+',
    'combine:tree:1+',
    'combine:tree:1+sparse:oid=x',
    'combine:tree:1 +blob:none',
    'combine:blob:none+tree:1%',
    'combine:blob:none+tree%3',
    'combine:blob:none+tree%zz1',
    'combine:blob:none+tree:(1)',
    'combine:blob:none+tr\x01ee:1',
    `combine:${'combine:'.repeat(9)}tree:1`,
    `combine:${'combine:'.repeat(8000)}tree:1`,
    `combine:${Array.from({ length: 33 }, () => 'tree:1').join('+')}`,
  ]
  for (const spec of refused) t.throws(() => parseFilter(spec), { code: 'unsupported', message: /^filter '.*' not supported$/ }, spec.slice(0, 80))
  t.throws(() => parseFilter('sparse:oid=\x1b[1m'), { message: "filter 'sparse:oid= [1m' not supported" })
  t.throws(() => parseFilter('x'.repeat(60_000)), { message: `filter '${'x'.repeat(200)}' not supported` })
})
