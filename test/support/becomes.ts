import { setTimeout as delay } from 'node:timers/promises'

/** Whether it becomes true in time. */
export async function becomes(condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (performance.now() < deadline) {
    if (await condition()) return true
    await delay(20)
  }
  return false
}
