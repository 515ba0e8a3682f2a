import { loadConfig, type Env } from '../../src/config/config.js'

/** What is said of settings that are wrong; '' of those that are not. */
export function complaintOf(env: Env): string {
  try {
    loadConfig(env)
  } catch (error) {
    return (error as Error).message
  }
  return ''
}
