import t from 'tap'
import { shallowStory, wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findLibgit2 } from '../support/tools/python-clients.js'

const hub = await startHub(t)
const libgit2 = await findLibgit2()
for (const tell of [wholeStory, shallowStory]) tell(t, hub, libgit2)
