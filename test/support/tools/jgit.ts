import { join } from 'node:path'
import { programClient, type ClientCase } from '../git-client.js'
import { cachedFolder } from './cached-folder.js'
import { digestOfFiles, programSource } from './program-sources.js'
import { findTool, runTool } from './run-tool.js'

/** JGit from Maven Central under a small class of ours, compiled once for each state of its files. */
export async function findJGit(): Promise<ClientCase> {
  const name = 'JGit'
  const found = await findTool(name, async () => {
    const [pom, source] = [programSource('jgit', 'pom.xml'), programSource('jgit', 'Client.java')]
    const folder = await cachedFolder(`jgit-client-${digestOfFiles([pom, source])}`, async (into) => {
      const jars = join(into, 'jars')
      await runTool('mvn', ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${jars}`])
      await runTool('javac', ['-cp', join(jars, '*'), '-d', into, source])
    })
    // Where the names of files are ASCII, Java cannot write branches that are not.
    return programClient('java', ['-XX:TieredStopAtLevel=1', '-cp', `${folder}:${join(folder, 'jars', '*')}`, 'Client'], { LC_ALL: 'C.UTF-8' })
  })
  return { name, found }
}
