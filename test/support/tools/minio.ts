import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../hub.js'
import { goProgram } from './go-install.js'
import { findTool } from './run-tool.js'
import { accessKey, region, secretKey, startS3Server, type S3Program } from './s3-server.js'

/** Its newest commit: releases are no longer tagged for Go. */
const version = 'v0.0.0-20260212201848-7aac2a2c5b7c'

/** The MinIO server, built by Go. */
export async function findMinio(): Promise<S3Program> {
  const found = await findTool('MinIO', async () => {
    const program = await goProgram({ name: 'minio', packagePath: 'github.com/minio/minio', version })
    const start: Start = async (t, { domain, certificates } = {}) => {
      const [port, console] = [await freePort(), await freePort()]
      const addresses = ['--address', `127.0.0.1:${port}`, '--console-address', `127.0.0.1:${console}`]
      const env = {
        MINIO_ROOT_USER: accessKey,
        MINIO_ROOT_PASSWORD: secretKey,
        MINIO_REGION: region,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
        ...(domain === undefined ? {} : { MINIO_DOMAIN: domain }),
      }
      return startS3Server(t, {
        endpoint: certificates === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`,
        processes: async (folder) => [
          { program, args: ['server', '--quiet', ...addresses, '--certs-dir', certificates ?? join(folder, 'certs'), join(folder, 'data')], env },
        ],
        ...(certificates === undefined ? {} : { ca: readFileSync(join(certificates, 'CAs', 'ca.crt'), 'utf8') }),
      })
    }
    return { version: '2026-02-12', start }
  })
  return { name: 'MinIO', slug: 'minio', found }
}

type Start = NonNullable<S3Program['found']['tool']>['start']
