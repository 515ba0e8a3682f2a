import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runTool } from './run-tool.js'

export interface Certificates {
  /** With `public.crt`, `private.key` and, in `CAs`, `ca.crt`, as MinIO wants them. */
  readonly folder: string
  /** PEM of the authority. */
  readonly ca: string
}

/** A private authority, and a certificate of it for a server under these names. Needs `openssl`. */
export async function makeCertificates(folder: string, names: readonly string[]): Promise<Certificates> {
  await mkdir(join(folder, 'CAs'), { recursive: true })
  const at = (name: string) => join(folder, name)
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await runTool('openssl', [
    'req',
    '-x509',
    ...curve,
    '-days',
    '2',
    '-subj',
    '/CN=Cairn test authority',
    '-keyout',
    at('ca.key'),
    '-out',
    at('CAs/ca.crt'),
  ])
  await runTool('openssl', ['req', ...curve, '-subj', `/CN=${names[0]}`, '-keyout', at('private.key'), '-out', at('server.csr')])
  await writeFile(at('names'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\nextendedKeyUsage=serverAuth\n`)
  const sign = ['x509', '-req', '-in', at('server.csr'), '-CA', at('CAs/ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2']
  await runTool('openssl', [...sign, '-extfile', at('names'), '-out', at('public.crt')])
  return { folder, ca: await readFile(at('CAs/ca.crt'), 'utf8') }
}
