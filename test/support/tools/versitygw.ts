import { mkdir } from 'node:fs/promises'
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
    const start: NonNullable<S3Program['found']['tool']>['start'] = async (t) => {
      const port = await freePort()
      return startS3Server(t, {
        endpoint: `http://127.0.0.1:${port}`,
        async processes(folder) {
          await mkdir(join(folder, 'data'))
          const args = ['--port', `127.0.0.1:${port}`, '--region', region, '--quiet', 'posix', join(folder, 'data')]
          return [{ program, args, env: { ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secretKey } }]
        },
      })
    }
    return { version: version.slice(1), start }
  })
  return { name: 'versitygw', slug: 'versitygw', found }
}
