import { answerTo } from '../../http/error-map.js'
import type { Task } from '../../jobs/runner.js'
import { answerOutcomes, answerSources, type OnAnswered } from '../../packs/answers.js'
import type { Packs } from '../../packs/packs.js'
import { sharedAnswerEvents, type SharedAnswerEvent } from '../../packs/shared-answers.js'
import type { Repos } from '../../repos/repos.js'
import type { ReceivePort } from '../../../protocol/ports.js'
import type { CommandResult } from '../../../protocol/types.js'
import type { Instruments } from './instruments.js'

/** `partial`: some refs were refused, and others moved. */
const pushOutcomes = ['accepted', 'partial', 'refused', 'left', 'failed'] as const
type PushOutcome = (typeof pushOutcomes)[number]

const jobOutcomes = ['done', 'failed', 'stopped'] as const

/** Counts what is done with git, and jobs. Each `watch…` gives back the same part, counted. */
export interface WorkMetrics {
  readonly onAnswered: OnAnswered
  readonly onSharedAnswer: (event: SharedAnswerEvent) => void
  watchPacks(packs: Packs): Packs
  watchRepos(repos: Repos): Repos
  watchTasks<Name extends string>(tasks: Readonly<Record<Name, Task>>): Readonly<Record<Name, Task>>
}

export function createWorkMetrics({ counter, gauges }: Instruments): WorkMetrics {
  const countFetch = counter('git_fetches_total', 'Packs that answered clones and fetches, by where they came from', {
    answer: answerSources,
    outcome: answerOutcomes,
  })
  const countShared = counter('git_shared_answers_total', 'Answers to clones in the store, by what became of them', { event: sharedAnswerEvents })
  const countPush = counter('git_pushes_total', 'Pushes, by what became of their refs', { outcome: pushOutcomes })
  const countObjects = counter('git_ingested_objects_total', 'Objects of packs that were received and found good', {})
  const countBytes = counter('git_ingested_bytes_total', 'Bytes of packs that were received and found good', {})
  return {
    onAnswered: (answer, outcome) => countFetch({ answer, outcome }),
    onSharedAnswer: (event) => countShared({ event }),

    watchPacks: (packs) => ({
      ...packs,
      async stage(chunks, request) {
        const staged = await packs.stage(chunks, request)
        countObjects({}, staged.objects)
        countBytes({}, staged.pack?.bytes ?? 0)
        return staged
      },
    }),

    watchRepos: (repos) => ({
      ...repos,
      openReceive: (repo, options) => watchPush(repos.openReceive(repo, options), options.signal, (outcome) => countPush({ outcome })),
    }),

    watchTasks<Name extends string>(tasks: Readonly<Record<Name, Task>>) {
      const countRun = counter('job_runs_total', 'Runs of what the hub does by itself', { job: Object.keys(tasks), outcome: jobOutcomes })
      const succeededAt: Record<string, number> = {}
      gauges('job_last_success_timestamp_seconds', 'When a job last ended well here, in seconds since 1970', 'job', () => succeededAt)
      const watched = Object.entries<Task>(tasks).map(([job, task]): [string, Task] => [
        job,
        async (signal) => {
          try {
            await task(signal)
          } catch (error) {
            countRun({ job, outcome: signal.aborted ? 'stopped' : 'failed' })
            throw error
          }
          countRun({ job, outcome: 'done' })
          succeededAt[job] = Date.now() / 1000
        },
      ])
      return Object.fromEntries(watched) as Record<Name, Task>
    },
  }
}

/** A push is over when its refs have moved or were refused, or when something threw on the way. */
function watchPush(port: ReceivePort, signal: AbortSignal, onEnd: (outcome: PushOutcome) => void): ReceivePort {
  const fail = (error: unknown): never => {
    onEnd(failureOutcome(error, signal))
    throw error
  }
  return {
    stage: (pack, request, options) => port.stage(pack, request, options).catch(fail),
    async apply(staged, request, say) {
      const results = await port.apply(staged, request, say).catch(fail)
      onEnd(outcomeOf(results))
      return results
    },
  }
}

function outcomeOf(results: readonly CommandResult[]): PushOutcome {
  const accepted = results.filter(({ kind }) => kind === 'ok').length
  return accepted === results.length ? 'accepted' : accepted > 0 ? 'partial' : 'refused'
}

/** Whose fault it is that something ended before its time. */
export function failureOutcome(error: unknown, signal: AbortSignal): 'left' | 'refused' | 'failed' {
  const { status } = answerTo(error)
  if (signal.aborted || status === 499) return 'left'
  return status < 500 ? 'refused' : 'failed'
}
