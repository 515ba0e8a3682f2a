import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Pointer } from '../../lfs/pointer.js'
import { HubError } from '../errors.js'
import { repoContext } from '../http/request-context.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { FoundFile } from '../repos/repo-files.js'
import type { Repos } from '../repos/repos.js'
import { sendFile, type FileContent } from './file-answer.js'
import { fileRoute } from './file-route.js'
import type { LinkedSizes } from './linked-sizes.js'

export interface ResolveOptions {
  readonly repos: Repos
  readonly largeFiles: Pick<LargeFiles, 'open' | 'direct'>
  readonly linkedSizes: LinkedSizes
}

/** A download that began goes on after it. */
const linkLifetimeMs = 60 * 60_000

/** `GET` and `HEAD …/resolve/{rev}/{path}`: the file itself; where a pointer stands for a large object, that object. */
export function resolveRoutes(app: FastifyInstance, { repos, largeFiles, linkedSizes }: ResolveOptions): void {
  fileRoute(app, 'resolve', repos, async (request, reply, found) => {
    const { repo, clientGone } = repoContext(request)
    const { pointer } = found.file
    const { direct } = largeFiles
    const content: FileContent = pointer
      ? {
          id: pointer.oid,
          size: await linkedSize(request, found, pointer),
          pointer,
          open: (range) => largeFiles.open(pointer.oid, { range, signal: clientGone }),
          ...(direct ? { elsewhere: (fileName: string) => direct.downloadUrl(pointer.oid, { lifetimeMs: linkLifetimeMs, fileName }) } : {}),
        }
      : { id: found.file.blob, size: found.file.size, open: (range) => repos.readFile(repo, found.file, { range, signal: clientGone }) }
    return sendFile(request, reply, { repo, found, content })
  })

  async function linkedSize(request: FastifyRequest, { path, commit }: FoundFile, { oid }: Pointer): Promise<number> {
    const { repo } = repoContext(request)
    const size = await (request.method === 'HEAD' ? linkedSizes.findLately(repo.id, oid) : linkedSizes.find(repo.id, oid))
    if (size !== undefined) return size
    throw new HubError('entry-not-found', `Entry not found: ${path} at ${commit} is a large file (sha256 ${oid}) that this repository does not have`)
  }
}
