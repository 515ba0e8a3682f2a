import t from 'tap'
import { clones, deepens, fetches, fetchesShallow, needsToken } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findGitoxide } from '../support/tools/gitoxide.js'

const hub = await startHub(t)
const gitoxide = await findGitoxide()
for (const tell of [clones, needsToken, fetches, fetchesShallow, deepens]) tell(t, hub, gitoxide)
