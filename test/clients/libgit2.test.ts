import t from 'tap'
import { wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findLibgit2 } from '../support/tools/python-clients.js'

const hub = await startHub(t)
wholeStory(t, hub, await findLibgit2())
