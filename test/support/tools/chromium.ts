import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findTool, runTool, type Found } from './run-tool.js'

/** A page in a real browser, driven as a person would: by keys, by picking files, by looking. */
export interface BrowserPage {
  goto(url: string): Promise<void>
  /** Types where the focus is. */
  type(text: string): Promise<void>
  /** `Tab`, `Enter`, … */
  press(key: string): Promise<void>
  focus(selector: string): Promise<void>
  pickFiles(selector: string, paths: readonly string[]): Promise<void>
  /** Presses Enter or what else leads to another page, and waits for that. */
  leaveBy(action: () => Promise<void>): Promise<void>
  /** What an expression about the page comes to. The page itself runs no script. */
  look<T>(expression: string): Promise<T>
  /** What the browser complained about: blocked by the policy, and the like. */
  readonly complaints: readonly string[]
}

interface Teardown {
  teardown(work: () => unknown): void
}

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--remote-debugging-port=0',
]
const startTimeoutMs = 30_000
const loadTimeoutMs = 15_000
const keys: Readonly<Record<string, { readonly code: number; readonly text?: string }>> = { Tab: { code: 9 }, Enter: { code: 13, text: '\r' } }

/** Its version, where there is one. */
export const findChromium = (): Promise<Found<string>> => findTool('chromium', async () => (await runTool('chromium', ['--version'])).trim())

/** Chromium with an empty profile, gone when the test ends. Needs `chromium` in the path. */
export async function openChromium(t: Teardown): Promise<BrowserPage> {
  const profile = await mkdtemp(join(tmpdir(), 'cairn-chromium-'))
  const child = spawn('chromium', [...flags, `--user-data-dir=${profile}`, 'about:blank'], { stdio: 'ignore' })
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  })
  const port = await portOf(profile)
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { type: string; webSocketDebuggerUrl: string }[]
  return drive(await connect(targets.find(({ type }) => type === 'page')!.webSocketDebuggerUrl))
}

async function portOf(profile: string): Promise<number> {
  const deadline = performance.now() + startTimeoutMs
  while (performance.now() < deadline) {
    const port = Number((await readFile(join(profile, 'DevToolsActivePort'), 'utf8').catch(() => '')).split('\n')[0])
    if (port > 0) return port
    await delay(50)
  }
  throw new Error(`chromium was not there in ${startTimeoutMs} ms`)
}

type Send = (method: string, params?: object) => Promise<unknown>

interface Connection {
  readonly send: Send
  on(method: string, listener: (params: unknown) => void): void
}

/** The browser's own protocol: JSON over a WebSocket. */
async function connect(url: string): Promise<Connection> {
  const socket = new WebSocket(url)
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  const listeners = new Map<string, ((params: unknown) => void)[]>()
  let last = 0
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve())
    socket.addEventListener('error', () => reject(new Error('chromium does not talk')))
  })
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: { message: string }; method?: string; params?: unknown }
    if (message.id === undefined) for (const listener of listeners.get(message.method!) ?? []) listener(message.params)
    else if (message.error) waiting.get(message.id)?.reject(new Error(message.error.message))
    else waiting.get(message.id)?.resolve(message.result)
  })
  return {
    send: (method, params = {}) =>
      new Promise((resolve, reject) => {
        const id = ++last
        waiting.set(id, { resolve, reject })
        socket.send(JSON.stringify({ id, method, params }))
      }),
    on: (method, listener) => void listeners.set(method, [...(listeners.get(method) ?? []), listener]),
  }
}

async function drive({ send, on }: Connection): Promise<BrowserPage> {
  const complaints: string[] = []
  const loaded: (() => void)[] = []
  on('Log.entryAdded', (params) => complaints.push((params as { entry: { text: string } }).entry.text))
  on('Page.loadEventFired', () => {
    for (const resolve of loaded.splice(0)) resolve()
  })
  for (const domain of ['Page', 'Runtime', 'DOM', 'Log']) await send(`${domain}.enable`)

  const leaveBy = async (action: () => Promise<unknown>): Promise<void> => {
    const arrived = new Promise<void>((resolve) => loaded.push(resolve))
    await action()
    const late = new AbortController()
    const timeout = delay(loadTimeoutMs, undefined, { signal: late.signal }).then(() => {
      throw new Error(`no page came in ${loadTimeoutMs} ms`)
    })
    try {
      await Promise.race([arrived, timeout])
    } finally {
      late.abort()
      timeout.catch(() => undefined)
    }
  }
  const nodeOf = async (selector: string): Promise<number> => {
    const { root } = (await send('DOM.getDocument')) as { root: { nodeId: number } }
    return ((await send('DOM.querySelector', { nodeId: root.nodeId, selector })) as { nodeId: number }).nodeId
  }
  return {
    complaints,
    leaveBy,
    goto: (url) => leaveBy(() => send('Page.navigate', { url })),
    type: async (text) => void (await send('Input.insertText', { text })),
    async press(key) {
      const { code, text } = keys[key]!
      const event = { key, code: key, windowsVirtualKeyCode: code, ...(text === undefined ? {} : { text }) }
      await send('Input.dispatchKeyEvent', { type: 'keyDown', ...event })
      await send('Input.dispatchKeyEvent', { type: 'keyUp', ...event })
    },
    focus: async (selector) => void (await send('DOM.focus', { nodeId: await nodeOf(selector) })),
    pickFiles: async (selector, paths) => void (await send('DOM.setFileInputFiles', { nodeId: await nodeOf(selector), files: paths })),
    async look<T>(expression: string) {
      const { result } = (await send('Runtime.evaluate', { expression, returnByValue: true })) as { result: { value: T } }
      return result.value
    },
  }
}
