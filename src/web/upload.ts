import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isOid } from '../../protocol/oid.js'
import { refText } from '../../protocol/ref-name.js'
import type { RefName } from '../../protocol/types.js'
import { repoTypes } from '../db/repositories.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'
import { setErrorHeaders } from '../http/answer-headers.js'
import { answerTo } from '../http/error-map.js'
import { logFailure } from '../http/log-failure.js'
import { repoTypePaths } from '../http/repo-path.js'
import { repoContext, signedInActor } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'
import type { UploadOutcome } from '../repos/upload-files.js'
import type { Uploads } from '../repos/uploads.js'
import type { FormGuard } from './form-guard.js'
import { html, type Html } from './html.js'
import { pageHeaders, sendPage } from './layout.js'
import { readUploadBody } from './upload-body.js'
import { renderUploadForm } from './upload-form.js'
import { createUrls } from './urls.js'

export interface UploadRoutesOptions {
  readonly repos: Pick<Repos, 'readRefs'>
  readonly uploads: Uploads
  readonly guard: FormGuard
}

/** `GET|POST /{repo}/upload` and `…/upload/{branch}`: one plain form, one commit. */
export function uploadRoutes(app: FastifyInstance, options: UploadRoutesOptions): void {
  for (const repoType of repoTypes) {
    const config = { repoType, access: 'content.write', page: true } as const
    for (const place of ['/upload', '/upload/*']) {
      const url = `${repoTypePaths[repoType].prefix}/:namespace/:name${place}`
      app.get(url, { config }, (request, reply) => showUpload(request, reply, options))
      app.post(url, { config }, (request, reply) => takeUpload(request, reply, options))
    }
  }
}

const heads = 'refs/heads/'
const headsOf = (text: string): string => text.slice(heads.length)

/** `/upload/{branch}`, slashes as they are or encoded. */
const branchInAddress = ({ params }: FastifyRequest): string | undefined => (params as { readonly '*'?: string })['*'] || undefined

async function showUpload(request: FastifyRequest, reply: FastifyReply, options: UploadRoutesOptions): Promise<FastifyReply> {
  const { repo } = repoContext(request)
  const { committed } = request.query as { readonly committed?: string | readonly string[] }
  const notice = typeof committed === 'string' && isOid(committed) ? await noticeOf(repo, branchInAddress(request), committed, options) : undefined
  return sendForm(request, reply, { ...options, notice })
}

/** Anybody can make an address: only what is so is said. */
async function noticeOf(repo: RepoState, branch: string | undefined, commit: string, { repos }: UploadRoutesOptions): Promise<Html | undefined> {
  const refs = await repos.readRefs(repo)
  const ref = branch === undefined ? undefined : refs.find(`${heads}${Buffer.from(branch, 'utf8').toString('latin1')}` as RefName)
  return ref?.oid === commit ? html`Commit <code>${commit.slice(0, 12)}</code> is on <bdi>${branch}</bdi> now.` : undefined
}

async function takeUpload(request: FastifyRequest, reply: FastifyReply, options: UploadRoutesOptions): Promise<FastifyReply> {
  const { repo, baseUrl, clientGone, mayStill } = repoContext(request)
  const { uploads, guard } = options
  guard.checkSender(request)
  const actor = signedInActor(request)
  let typed: ReadonlyMap<string, string> = new Map()
  const byDefault = await defaultBranch(repo, request, options)
  try {
    const body = await readUploadBody(request, {
      receive: (chunks) => uploads.receive(chunks),
      async checkFields(fields) {
        await guard.checkSessionToken(request, fields.get('csrf'))
        typed = fields
      },
    })
    const branch = typed.get('branch') ?? byDefault
    const startedAt = performance.now()
    const files = body.files.length
    let outcome: UploadOutcome
    try {
      outcome = await uploads.commit({
        repo,
        actor,
        branch,
        folder: typed.get('folder') ?? '',
        files: body.files,
        summary: typed.get('summary') ?? '',
        description: typed.get('description') ?? '',
        authorise: () => mayStill('content.write'),
        signal: clientGone,
      })
    } finally {
      await body.dispose()
    }
    if (outcome.kind === 'unchanged') {
      return await sendForm(request, reply, {
        ...options,
        typed,
        notice: html`Nothing changed: <bdi>${branch}</bdi> has these files already, as they are.`,
      })
    }
    const fields = { repo: `${repo.namespace}/${repo.name}`, actor: actor.name, files, commit: outcome.commit }
    request.log.info({ ...fields, ms: Math.round(performance.now() - startedAt) }, 'upload committed')
    return await reply.headers(pageHeaders).redirect(createUrls(baseUrl).upload(repo, branch, outcome.commit), 303)
  } catch (error) {
    const answer = answerTo(error)
    // What is wrong with what was typed or picked is said where it can be mended; whose form it was not gets nothing of it.
    if (typed.size === 0 || answer.status >= 500 || (error instanceof HubError && ['forbidden', 'repo-not-found'].includes(error.code))) throw error
    logFailure(request, error, answer)
    setErrorHeaders(reply, answer)
    return sendForm(request, reply, { ...options, typed, complaint: answer.message })
  }
}

async function defaultBranch(repo: RepoState, request: FastifyRequest, { repos }: UploadRoutesOptions): Promise<string> {
  return branchInAddress(request) ?? headsOf(refText((await repos.readRefs(repo)).head))
}

interface FormState extends UploadRoutesOptions {
  readonly typed?: ReadonlyMap<string, string>
  readonly complaint?: string
  readonly notice?: Html | undefined
}

async function sendForm(request: FastifyRequest, reply: FastifyReply, state: FormState): Promise<FastifyReply> {
  const { repo, baseUrl } = repoContext(request)
  const { repos, guard, typed, complaint, notice } = state
  const urls = createUrls(baseUrl)
  const { list } = await repos.readRefs(repo)
  const form = {
    repo,
    branch: typed?.get('branch') ?? (await defaultBranch(repo, request, state)),
    branches: list.filter(({ name }) => name.startsWith(heads)).map(({ name }) => headsOf(refText(name))),
    folder: typed?.get('folder') ?? '',
    summary: typed?.get('summary') ?? '',
    description: typed?.get('description') ?? '',
    formToken: (await guard.sessionToken(request)) ?? '',
    complaint,
    notice,
  }
  const title = `${complaint === undefined ? '' : 'Not uploaded: '}Upload to ${repo.namespace}/${repo.name}`
  return sendPage(request, reply, { title, body: renderUploadForm(form, urls), urls, visitor: await guard.visitor(request) })
}
