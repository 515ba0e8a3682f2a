import t from 'tap'
import { wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findJGit } from '../support/tools/jgit.js'

const hub = await startHub(t)
wholeStory(t, hub, await findJGit())
