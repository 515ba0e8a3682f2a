import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What private repositories hold is for nobody else on the machine. */
const folderMode = 0o700

/** What becomes of a folder: it is there, and it will be there after a power cut. */
interface MadeFolder {
  readonly made: Promise<void>
  readonly synced: Promise<void>
}

/** Folders that outlive a power cut: a file's name is only as durable as the names of all folders above it. */
export class DurableFolders {
  readonly #top: string
  readonly #folders = new Map<string, MadeFolder>()

  /** `top` and everything below it may be made. */
  constructor(top: string) {
    this.#top = top
  }

  /**
   * Makes the folder where it is missing, and syncs its parent. Once in each process also where it was there: whoever made it may have
   * died before the sync.
   */
  ensure(folder: string): Promise<void> {
    return this.make(folder).synced
  }

  /** The same for who has something to do in the folder before its name is durable. */
  make(folder: string): MadeFolder {
    const known = this.#folders.get(folder)
    if (known) return known
    const parent = folder === this.#top ? undefined : this.make(dirname(folder))
    const made = this.#make(folder, parent)
    const synced = made.then(() => Promise.all([parent?.synced, this.sync(dirname(folder))])).then(() => undefined)
    const entry = { made, synced }
    this.#folders.set(folder, entry)
    synced.catch(() => this.#folders.delete(folder))
    return entry
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

  async #make(folder: string, parent: MadeFolder | undefined): Promise<void> {
    if (!parent) {
      await mkdir(folder, { recursive: true, mode: folderMode })
      return
    }
    await parent.made
    await mkdir(folder, folderMode).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}
