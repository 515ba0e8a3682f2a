import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What private repositories hold is for nobody else on the machine. */
const folderMode = 0o700

/** Folders that outlive a power cut: a file's name is only as durable as the names of all folders above it. */
export class DurableFolders {
  readonly #top: string
  readonly #made = new Map<string, Promise<void>>()

  /** `top` and everything below it may be made. */
  constructor(top: string) {
    this.#top = top
  }

  /**
   * Makes the folder where it is missing, and syncs its parent. Once in each process also where it was there: whoever made it may have
   * died before the sync.
   */
  ensure(folder: string): Promise<void> {
    const known = this.#made.get(folder)
    if (known) return known
    const made = this.#make(folder)
    this.#made.set(folder, made)
    made.catch(() => this.#made.delete(folder))
    return made
  }

  /** Makes the names in a folder durable, new ones and the lack of old ones. */
  async sync(folder: string): Promise<void> {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  async #make(folder: string): Promise<void> {
    if (folder === this.#top) {
      await mkdir(folder, { recursive: true, mode: folderMode })
    } else {
      await this.ensure(dirname(folder))
      await mkdir(folder, folderMode).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error
      })
    }
    await this.sync(dirname(folder))
  }
}
