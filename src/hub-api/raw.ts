import type { FastifyInstance } from 'fastify'
import { repoContext } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'
import { sendFile } from './file-answer.js'
import { fileRoute } from './file-route.js'

/** `GET` and `HEAD …/raw/{rev}/{path}`: the blob as git has it; of a large file, its pointer. */
export function rawRoutes(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  fileRoute(app, 'raw', repos, async (request, reply, found) => {
    const { repo, clientGone } = repoContext(request)
    const { blob, size, pointer } = found.file
    return sendFile(request, reply, {
      repo,
      found,
      content: {
        id: blob,
        size,
        isPointerText: pointer !== undefined,
        open: (range) => repos.readFile(repo, found.file, { range, signal: clientGone }),
      },
    })
  })
}
