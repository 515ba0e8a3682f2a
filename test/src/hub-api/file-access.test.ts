import t from 'tap'
import type { AddressInfo } from 'node:net'
import type { Oid } from '../../../protocol/types.js'
import { createPeopledHub } from '../../support/memory-hub.js'

const commit = 'c'.repeat(40) as Oid
const blob = 'b'.repeat(40) as Oid
const asked: string[] = []

/** Every repository holds one file of ten bytes. `sent`: how many of them come. */
function openHub(sent = 10) {
  return createPeopledHub({
    repos: {
      findFile: async (repo, { segments }) => {
        asked.push(repo.name)
        return { commit, isFixed: false, path: segments.slice(1).join('/'), file: segments[1] === 'a.txt' ? { blob, size: 10 } : undefined }
      },
      readFile: async function* (_repo, _file, { range }) {
        const bytes = Buffer.from('0123456789xyz').subarray(range.from, Math.min(range.to, sent) + Math.max(0, sent - 10))
        yield bytes.subarray(0, 3)
        yield bytes.subarray(3)
      },
    },
  })
}

const hub = openHub()
t.teardown(() => hub.app.close())
const callers = ['anonymous', 'wrong', 'fine', 'stranger', 'ownerReads', 'owner', 'adminReads', 'admin']
const authorizationOf = (caller: string): Record<string, string> => {
  if (caller === 'anonymous') return {}
  return { authorization: `Bearer ${caller === 'wrong' ? 'hf_nobodysToken' : `hf_${caller}`}` }
}

t.test('files open to those who may read the content, for every caller, kind of repository, type, verb and method', async (t) => {
  /*               anonymous wrong fine stranger ownerReads owner adminReads admin */
  const table: Readonly<Record<string, string>> = {
    Open: '200 401 200 200 200 200 200 200',
    secret: '401 401 404 404 200 200 200 200',
    absent: '401 401 404 404 404 404 404 404',
    gated: '401 401 403 403 200 200 200 200',
    off: '403 401 403 403 403 403 200 200',
  }
  for (const prefix of ['', '/datasets', '/spaces']) {
    for (const verb of ['resolve', 'raw']) {
      for (const method of ['GET', 'HEAD'] as const) {
        for (const [name, row] of Object.entries(table)) {
          const seen: number[] = []
          for (const caller of callers) {
            asked.length = 0
            const url = `${prefix}/alice/${name}/${verb}/main/a.txt`
            const answer = await hub.app.inject({ method, url, headers: authorizationOf(caller) })
            seen.push(answer.statusCode)
            const isOpen = answer.statusCode === 200
            if (answer.body !== (isOpen && method === 'GET' ? '0123456789' : '') && (isOpen || method === 'HEAD'))
              t.fail(`${method} ${url} as ${caller}: ${answer.body}`)
            if (asked.length > 0 !== isOpen) t.fail(`${method} ${url} as ${caller} looked at the repository`)
            if (!isOpen && (answer.headers['etag'] ?? answer.headers['x-repo-commit']) !== undefined) t.fail(`${url} tells ${caller} something`)
          }
          t.equal(seen.join(' '), row, `${method} ${prefix}/alice/${name}/${verb}`)
        }
      }
    }
  }
})

t.test('private, absent and impossible repositories are refused in the same words, whatever the file', async (t) => {
  for (const headers of [{}, { authorization: 'Bearer hf_stranger' }]) {
    for (const rest of ['resolve/main/a.txt', 'raw/main/nothing', `resolve/${commit}/a.txt`]) {
      const answers = await Promise.all(
        ['alice/secret', 'alice/absent', 'settings/x'].map(async (name) => {
          const {
            statusCode,
            headers: answered,
            body,
          } = await hub.app.inject({ url: `/${name}/${rest}`, headers: { ...headers, range: 'bytes=0-0' } })
          const { 'x-request-id': _, date: _date, ...others } = answered
          return { statusCode, headers: others, body }
        }),
      )
      t.same(answers[0], answers[1], rest)
      t.same(answers[2], answers[1], rest)
    }
  }
})

t.test('fewer or more bytes than were promised break the connection', async (t) => {
  for (const sent of [5, 12]) {
    const { app } = openHub(sent)
    t.teardown(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
    const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/alice/Open/resolve/main/a.txt`
    await t.rejects(
      fetch(url).then((response) => response.text()),
      `${sent} of 10`,
    )
  }
})
