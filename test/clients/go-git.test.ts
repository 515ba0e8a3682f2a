import t from 'tap'
import { clonesShallow, clonesWithoutBlobs, fetchesShallow, shallowStory, wholeStory } from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findGoGit } from '../support/tools/go-git.js'

const hub = await startHub(t)
const [v5, v6] = await findGoGit()
// It asks for nothing when it knows the tip already, however deep.
for (const tell of [wholeStory, clonesShallow, fetchesShallow]) tell(t, hub, v5)
for (const tell of [wholeStory, shallowStory, clonesWithoutBlobs]) tell(t, hub, v6)
