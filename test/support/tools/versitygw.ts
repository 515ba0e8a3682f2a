import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../hub.js'
import { goProgram } from './go-install.js'
import { findTool } from './run-tool.js'
import { accessKey, region, secretKey, startS3Server, type S3Program } from './s3-server.js'

const version = 'v1.8.0'

/** The Versity gateway over a folder, built by Go. */
export async function findVersitygw(): Promise<S3Program> {
  const found = await findTool('versitygw', async () => {
    const program = await goProgram({ name: 'versitygw', packagePath: 'github.com/versity/versitygw/cmd/versitygw', version })
    return {
      version: version.slice(1),
      start: async (t: Parameters<typeof startS3Server>[0]) => {
        const port = await freePort()
        return startS3Server(t, {
          program,
          args: (folder) => {
            mkdirSync(join(folder, 'data'))
            return ['--port', `127.0.0.1:${port}`, '--region', region, '--quiet', 'posix', join(folder, 'data')]
          },
          env: { ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secretKey },
          endpoint: `http://127.0.0.1:${port}`,
        })
      },
    }
  })
  return { name: 'versitygw', slug: 'versitygw', found }
}
