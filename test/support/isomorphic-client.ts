import fs from 'node:fs'
import * as iso from 'isomorphic-git'
import http from 'isomorphic-git/http/node'
import type { GitClient } from './git-client.js'

/** isomorphic-git, in this process. It pushes one ref at a time. */
export const isomorphicClient: GitClient = {
  async clone(url, dir, { depth, filter } = {}) {
    if (filter !== undefined) throw new Error('isomorphic-git has no partial clone')
    await iso.clone({ fs, http, dir, url, singleBranch: false, ...(depth === undefined ? {} : { depth }) })
  },
  async fetch(dir, { depth } = {}) {
    await iso.fetch({ fs, http, dir, remote: 'origin', tags: true, singleBranch: false, ...(depth === undefined ? {} : { depth }) })
  },
  async push(dir, refspecs) {
    for (const refspec of refspecs) {
      const [from = '', remoteRef = ''] = refspec.replace(/^\+/, '').split(':')
      const force = refspec.startsWith('+')
      const { ok, refs } = await iso.push({ fs, http, dir, remote: 'origin', ref: from || remoteRef, remoteRef, force, delete: from === '' })
      if (!ok) throw new Error(`${remoteRef} was refused: ${JSON.stringify(refs)}`)
    }
  },
}
