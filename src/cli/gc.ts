import { createClient } from './client.js'
import type { CollectionFigures } from '../server/chores.js'
import type { Command } from './command.js'

export const gcCommand: Command = {
  name: 'gc',
  takes: '[--packs] [--large-files] [--dry-run] [--force]',
  summary: 'collect what nothing leads to any more',
  details: [
    'The hub does this by itself once a day: packs of git and large files, or what is named.',
    'Packs: what branches, tags and other refs lead to is put in order; what none leads to becomes garbage, and goes after CAIRN_RETENTION_DAYS.',
    'Large files: a file counts as in use while a branch or tag leads to it, and for CAIRN_RETENTION_DAYS after.',
    'Not in use for as long again, its link is marked; after half that time the link goes, a day later the object, and then its bytes.',
    '',
    '--dry-run  changes nothing, and says what a run would come to',
    '--force    also when a repository, or the hub, would lose more than half of what it links',
  ],
  options: { packs: { type: 'boolean' }, 'large-files': { type: 'boolean' }, 'dry-run': { type: 'boolean' }, force: { type: 'boolean' } },
  words: 0,
  async run({ env, out, err }, _words, values) {
    const dryRun = values['dry-run'] === true
    const what = ['packs', 'large-files'].filter((thing) => values[thing] === true)
    const answer = await (await createClient(env)).call('POST', '/api/cairn/gc', {
      dryRun,
      force: values['force'] === true,
      ...(what.length > 0 ? { what } : {}),
    })
    const { packs, repositories, links, objects, blobs, failed } = answer as unknown as CollectionFigures
    out(
      [
        ...(dryRun ? ['dry run: nothing was changed'] : []),
        ...(packs ? packLines(packs) : []),
        ...(links && objects
          ? [
              `large files              in ${repositories} repositories`,
              `  links                  ${links.marked} marked, ${links.removed} removed, ${links.renewed} found in use again`,
              `  objects                ${objects.marked} found unlinked, ${objects.removed} dropped (${objects.removedBytes} bytes)`,
            ]
          : []),
        `stored blobs             ${blobs.doomed} doomed (${blobs.doomedBytes} bytes), ${blobs.deleted} deleted (${blobs.deletedBytes} bytes)`,
      ].join('\n'),
    )
    for (const { what, why } of failed) err(`left as it is: ${what}: ${why}`)
    return failed.length === 0 ? 0 : 1
  },
}

const packLines = ({
  repositories,
  collected,
  movedOn,
  packs,
  bytes,
  objects,
  garbage,
  expired,
}: NonNullable<CollectionFigures['packs']>): string[] => [
  `packs                    in ${repositories} repositories: ${packs} (${bytes} bytes), ${objects} objects in use`,
  `  put in order           ${collected} repositories${movedOn > 0 ? `, ${movedOn} were pushed to meanwhile and come later` : ''}`,
  `  garbage                ${garbage} objects from now on, ${expired} packs of it are over`,
]
