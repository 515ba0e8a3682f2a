import t from 'tap'
import {
  clones,
  clonesShallow,
  clonesWithoutBlobs,
  deepens,
  fetches,
  imports,
  needsToken,
  pushes,
  shallowStory,
  wholeStory,
} from '../support/client-stories.js'
import { startHub } from '../support/hub.js'
import { findDulwich } from '../support/tools/python-clients.js'

const hub = await startHub(t)
const [newest, v0] = await findDulwich()
for (const tell of [wholeStory, shallowStory, clonesWithoutBlobs]) tell(t, hub, newest)
// Seen to fail in the same way when git's own server answers: it cannot clone an empty repository, because v0 does not say where HEAD will be, and
// it waits for a list of cut commits when it fetches into a shallow clone without a depth.
for (const tell of [clones, needsToken, fetches, pushes, imports, clonesShallow, deepens]) tell(t, hub, v0)
