import t from 'tap'
import { clones, fetches, imports, needsToken, pushes, wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findDulwich } from '../support/tools/python-clients.js'

const hub = await startHub(t)
const [newest, v0] = await findDulwich()
wholeStory(t, hub, newest)
// It cannot clone an empty repository from anybody, git's own server included: v0 does not say where HEAD will be.
for (const tell of [clones, needsToken, fetches, pushes, imports]) tell(t, hub, v0)
