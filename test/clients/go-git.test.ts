import t from 'tap'
import { wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findGoGit } from '../support/tools/go-git.js'

const hub = await startHub(t)
for (const goGit of await findGoGit()) wholeStory(t, hub, goGit)
