import { createClient } from './client.js'
import type { Command } from './command.js'

/** As the hub answers `POST /api/cairn/fsck`, a line each. */
interface Line {
  readonly finding?: { readonly about: string; readonly state: 'left' | 'repaired'; readonly repository?: string; readonly says: string }
  readonly figures?: {
    readonly blobs: number
    readonly bytes: number
    readonly hashedBytes: number
    readonly repositories: number
    readonly packs: number
    readonly objects: number
    readonly repaired: number
    readonly left: number
    readonly orphans: number
    readonly orphanBytes: number
    readonly removed: number
  }
  readonly error?: string
}

export const fsckCommand: Command = {
  name: 'fsck',
  takes: '[--bytes] [--repair] [--remove-orphans]',
  summary: 'check that all bytes are there, and that refs lead only to what is',
  details: [
    'Without --repair and --remove-orphans nothing is changed. Exit code 1 when something is wrong and left.',
    '',
    '--bytes           reads and hashes every stored byte, where otherwise only sizes are compared',
    '--repair          puts back what can be had from elsewhere: indexes and tables from their pack, packs from the cache of this hub or from other packs',
    '--remove-orphans  deletes bytes that no row knows and that are older than two days. Never after the database was put back to an older',
    '                  state: they may be what has to be had back then',
  ],
  options: { bytes: { type: 'boolean' }, repair: { type: 'boolean' }, 'remove-orphans': { type: 'boolean' } },
  words: 0,
  async run({ env, out, err }, _words, values) {
    const options = { bytes: values['bytes'] === true, repair: values['repair'] === true, removeOrphans: values['remove-orphans'] === true }
    const lines = (await createClient(env)).lines('POST', '/api/cairn/fsck', options) as AsyncGenerator<Line>
    for await (const { finding, figures, error } of lines) {
      if (finding) err(`${wordOf(finding)}: ${finding.repository === undefined ? '' : `${finding.repository}: `}${finding.says}`)
      if (error !== undefined) {
        err(error)
        return 1
      }
      if (!figures) continue
      const { blobs, bytes, hashedBytes, repositories, packs, objects, repaired, left, orphans, orphanBytes, removed } = figures
      out(
        [
          `store         ${blobs} blobs (${bytes} bytes), ${hashedBytes} bytes read`,
          `repositories  ${repositories}: ${packs} packs, ${objects} objects that refs lead to`,
          `orphans       ${orphans} (${orphanBytes} bytes), ${removed} deleted`,
          left + repaired === removed ? 'nothing is wrong' : `${repaired - removed} repaired, ${left} left`,
        ].join('\n'),
      )
      return left === 0 ? 0 : 1
    }
    err('the answer broke off')
    return 1
  },
}

const wordOf = ({ about, state }: NonNullable<Line['finding']>): string =>
  state === 'repaired' ? 'repaired' : about === 'orphan' ? 'orphan' : 'WRONG'
