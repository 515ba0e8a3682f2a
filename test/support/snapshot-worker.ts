import { parentPort, workerData } from 'node:worker_threads'
import { PackFiles } from '../../src/packs/pack-file.js'
import { snapshotFromMessage, type SnapshotMessage } from '../../src/packs/snapshot.js'
import { answersOf } from './snapshot-answers.js'

/** Makes a view of the message it was started with, asks it for every oid, and posts what it said. */
const { message, oids } = workerData as { message: SnapshotMessage; oids: readonly string[] }
const view = snapshotFromMessage(message, new PackFiles())
const answers = await answersOf(view, oids)
parentPort!.postMessage(answers, [])
view.release()
