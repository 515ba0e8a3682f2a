import { createHash } from 'node:crypto'
import t from 'tap'
import { parseLfsOid } from '../../../lfs/types.js'
import { checkedBytes, createRunningHash } from '../../../src/large-files/checked-bytes.js'

const oidOf = (text: string) => parseLfsOid(createHash('sha256').update(text).digest('hex'))

async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

/** What came out before it ended, and how. */
async function taken(object: { readonly oid: ReturnType<typeof oidOf>; readonly size: number }, ...texts: readonly string[]) {
  let out = ''
  try {
    for await (const chunk of checkedBytes(pieces(...texts), object, createRunningHash())) out += Buffer.from(chunk).toString()
    return [out, 'ended']
  } catch (error) {
    return [out, (error as Error).message.replace(/[0-9a-f]{64}/g, 'OID')]
  }
}

t.test('the bytes come out when they are the object', async (t) => {
  const object = { oid: oidOf('abcdef'), size: 6 }
  t.same(await taken(object, 'abcdef'), ['abcdef', 'ended'])
  t.same(await taken(object, 'ab', '', 'cd', 'ef', ''), ['abcdef', 'ended'])
  t.same(await taken({ oid: oidOf(''), size: 0 }), ['', 'ended'])
})

t.test('nobody ever has the whole of something else', async (t) => {
  const object = { oid: oidOf('abcdef'), size: 6 }
  t.same(await taken(object, 'ab', 'cd', 'eX'), ['abcd', 'the bytes have the SHA-256 OID, not OID'])
  t.same(await taken(object, 'abcdeX'), ['', 'the bytes have the SHA-256 OID, not OID'])
  t.same(await taken(object, 'ab', 'cd'), ['abcd', 'only 4 of 6 bytes came for OID'])
  t.same(await taken(object, 'abcd', 'efgh'), ['abcd', 'more than 6 bytes came for OID'])
  t.same(await taken({ oid: oidOf('x'), size: 0 }), ['', 'the bytes have the SHA-256 OID, not OID'])
})
