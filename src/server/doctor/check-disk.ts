import { randomUUID } from 'node:crypto'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config, SettingName } from '../../config/config.js'
import { freeBytes } from '../../config/free-bytes.js'
import { Fault, look, type Finding } from './finding.js'

interface Folder {
  readonly name: string
  readonly path: string
  readonly setting: SettingName
  readonly limitBytes: number
  readonly limitSetting: SettingName
}

/** Whether this machine's folders can be written to, and have the room that the settings promise. */
export async function* checkDisk(config: Config, { cache }: { readonly cache: boolean }): AsyncGenerator<Finding> {
  const { spoolDirectory, spoolBytes, cacheDirectory, cacheBytes } = config
  const folders: Folder[] = [
    { name: 'spool', path: spoolDirectory, setting: 'CAIRN_SPOOL_DIR', limitBytes: spoolBytes, limitSetting: 'CAIRN_SPOOL_BYTES' },
    { name: 'cache', path: cacheDirectory, setting: 'CAIRN_CACHE_DIR', limitBytes: cacheBytes, limitSetting: 'CAIRN_CACHE_BYTES' },
  ]
  for (const folder of folders) if (folder.name !== 'cache' || cache) yield look(`disk: ${folder.name}`, [folder.setting], () => checkFolder(folder))
}

async function checkFolder({ path, setting, limitBytes, limitSetting }: Folder): Promise<string> {
  try {
    await mkdir(path, { recursive: true })
    const file = join(path, `doctor-${randomUUID()}`)
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.write('x')
      await handle.sync()
    } finally {
      await handle.close()
      await rm(file, { force: true })
    }
  } catch (error) {
    throw new Fault(`${path} cannot be written to: ${(error as Error).message}`, [setting])
  }
  const free = freeBytes(path)
  if (free < limitBytes) throw new Fault(`${path} has ${free} bytes free, and may take ${limitBytes}`, [limitSetting, setting])
  return `${path} can be written to, ${free} bytes free of the ${limitBytes} it may take`
}
