import t from 'tap'
import { clonesWithoutBlobs, shallowStory, wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findJGit } from '../support/tools/jgit.js'

const hub = await startHub(t)
const jgit = await findJGit()
for (const tell of [wholeStory, shallowStory, clonesWithoutBlobs]) tell(t, hub, jgit)
