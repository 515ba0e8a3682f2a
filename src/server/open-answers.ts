import { join } from 'node:path'
import type { Slices } from '../../protocol/ports.js'
import type { Config } from '../config/config.js'
import { AnswerFiles } from '../packs/answer-files.js'
import { createAnswers, type Answers, type AnswersOptions } from '../packs/answers.js'
import { SharedAnswers, type SharedAnswersOptions } from '../packs/shared-answers.js'
import type { Spool } from '../packs/spool.js'
import type { Log } from './ground.js'
import type { WorkMetrics } from './metrics/work-metrics.js'

export interface OpenAnswersOptions extends Pick<SharedAnswersOptions, 'db' | 'store' | 'keeper' | 'blobs'>, Pick<AnswersOptions, 'jobs'> {
  readonly config: Pick<Config, 'answerBytes' | 'answerDiskBytes' | 'answerStoreBytes'>
  /** Other hubs reach the store. */
  readonly isShared: boolean
  readonly spool: Pick<Spool, 'directory'>
  readonly slices: (signal: AbortSignal) => Slices
  readonly work: Pick<WorkMetrics, 'onAnswered' | 'onSharedAnswer'>
  readonly log: Log
}

export interface OpenedAnswers {
  readonly answers: Answers
  readonly sharedAnswers: SharedAnswers
  close(): Promise<void>
}

/** Answers in memory, in files beside the spool, and in the store. What comes from the store, or goes there, goes through a file. */
export function openAnswers({ config, isShared, spool, jobs, slices, work, log, ...stores }: OpenAnswersOptions): OpenedAnswers {
  const { answerBytes, answerDiskBytes, answerStoreBytes } = config
  const files = answerDiskBytes > 0 ? new AnswerFiles({ directory: join(spool.directory, 'answers'), maxBytes: answerDiskBytes, slices }) : undefined
  const sharedAnswers = new SharedAnswers({
    ...stores,
    maxBytes: files && isShared ? answerStoreBytes : 0,
    onEvent: work.onSharedAnswer,
    onFailed: (repoId, error) => log({ repoId, err: error }, 'an answer in the store could not be used or kept'),
  })
  return {
    answers: createAnswers({ answerBytes, files, shared: sharedAnswers, ...(jobs ? { jobs } : {}), onAnswered: work.onAnswered }),
    sharedAnswers,
    async close() {
      await sharedAnswers.close()
      files?.forget()
    },
  }
}
