import type { FastifyRequest } from 'fastify'
import { HubError } from '../errors.js'

/**
 * Refuses what another site made a browser send. Browsers say so in one header or both; a client that sends neither is no browser, and
 * what it lacks is the form's token.
 * @throws HubError `forbidden`
 */
export function checkSameOrigin({ headers }: Pick<FastifyRequest, 'headers'>, baseUrl: string): void {
  const { origin, 'sec-fetch-site': site } = headers
  if (site !== undefined && site !== 'same-origin') throw new HubError('forbidden', 'This form was sent from another site, so nothing was done.')
  const own = new URL(baseUrl).origin
  if (origin !== undefined && origin !== own) {
    throw new HubError(
      'forbidden',
      `This form was sent from ${origin === 'null' ? 'a page without an address' : origin.slice(0, 200)}, and this hub is at ${own}, so nothing was done.`,
    )
  }
}
