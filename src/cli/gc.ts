import { createClient } from './client.js'
import { UsageError, type Command } from './command.js'

/** As the hub answers `POST /api/cairn/gc`. */
interface Figures {
  readonly repositories: number
  readonly links: { readonly renewed: number; readonly marked: number; readonly removed: number }
  readonly objects: { readonly marked: number; readonly removed: number; readonly removedBytes: number }
  readonly blobs: { readonly doomed: number; readonly doomedBytes: number; readonly deleted: number; readonly deletedBytes: number }
  readonly failed: readonly { readonly what: string; readonly why: string }[]
}

export const gcCommand: Command = {
  name: 'gc',
  takes: '--large-files [--dry-run] [--force]',
  summary: 'collect large files that nothing points to any more',
  details: [
    'The hub does this by itself once a day. A file counts as in use while a branch or tag leads to it, and for CAIRN_RETENTION_DAYS after.',
    'Not in use for as long again, its link is marked; after half that time the link goes, a day later the object, and then its bytes.',
    '',
    '--dry-run  changes nothing, and says what a run would come to',
    '--force    also when a repository, or the hub, would lose more than half of what it links',
  ],
  options: { 'large-files': { type: 'boolean' }, 'dry-run': { type: 'boolean' }, force: { type: 'boolean' } },
  words: 0,
  async run({ env, out, err }, _words, values) {
    if (values['large-files'] !== true) throw new UsageError('say what to collect: --large-files')
    const dryRun = values['dry-run'] === true
    const answer = await (await createClient(env)).call('POST', '/api/cairn/gc', { dryRun, force: values['force'] === true })
    const { repositories, links, objects, blobs, failed } = answer as unknown as Figures
    out(
      [
        ...(dryRun ? ['dry run: nothing was changed'] : []),
        `repositories looked at   ${repositories}`,
        `links                    ${links.marked} marked, ${links.removed} removed, ${links.renewed} found in use again`,
        `objects                  ${objects.marked} found unlinked, ${objects.removed} dropped (${objects.removedBytes} bytes)`,
        `stored blobs             ${blobs.doomed} doomed (${blobs.doomedBytes} bytes), ${blobs.deleted} deleted (${blobs.deletedBytes} bytes)`,
      ].join('\n'),
    )
    for (const { what, why } of failed) err(`left as it is: ${what}: ${why}`)
    return failed.length === 0 ? 0 : 1
  },
}
