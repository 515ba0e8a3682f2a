import type { Hub } from '../hub.js'
import { gitEnvironment } from '../git.js'
import { programSource } from './program-sources.js'
import { pythonPackages } from './python-packages.js'
import { findTool, runTool, type Found } from './run-tool.js'

/** Runs `hf` against a hub, as whose token it is. `home`: a folder it may fill. What it printed; throws with that when it fails. */
export type Hf = (hub: Pick<Hub, 'url' | 'token'>, home: string, args: readonly string[]) => Promise<string>

/** The command line of `huggingface_hub`. */
export const findHf = (): Promise<Found<Hf>> =>
  findTool('hf', async () => {
    const packages = await pythonPackages('huggingface-hub', programSource('python', 'requirements-huggingface-hub.txt'))
    return (hub, home, args) =>
      runTool('python3', ['-B', '-m', 'huggingface_hub.cli.hf', ...args], {
        env: gitEnvironment({
          PYTHONPATH: packages,
          HF_ENDPOINT: hub.url,
          HF_TOKEN: hub.token,
          HF_HOME: home,
          HF_HUB_DISABLE_TELEMETRY: '1',
          HF_HUB_DISABLE_UPDATE_CHECK: '1',
          NO_COLOR: '1',
        }),
      })
  })
