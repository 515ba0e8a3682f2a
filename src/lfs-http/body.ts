import type { FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../errors.js'
import { readBody } from '../http/body-limit.js'

export const lfsMediaType = 'application/vnd.git-lfs+json'

/** A thousand objects with the longest of names and sizes are under 200 KB. */
const maxBodyBytes = 4 * 1024 * 1024

/** The JSON of a request, whatever it calls it: clients disagree on that. @throws HubError `bad-request`, `too-large`, `unsupported-media` */
export async function readJson(request: FastifyRequest): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of readBody(request.raw, { maxBytes: maxBodyBytes })) chunks.push(Buffer.from(chunk))
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
  } catch (cause) {
    throw new HubError('bad-request', 'the request body is not JSON', { cause })
  }
}

export const sendJson = (reply: FastifyReply, body: object): FastifyReply => reply.type(lfsMediaType).send(JSON.stringify(body))
