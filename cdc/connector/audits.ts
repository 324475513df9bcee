// Audits of a running source, one at a time: what they need of the connector, and their life.
import {
  type AuditProgress,
  type AuditReport,
  type AuditRequest,
  type AuditStatus,
  fail,
  Job,
  type Log,
  type Mirror,
  type SourceAudits,
} from '../../core/index.ts'
import { runAudit } from './audit.ts'
import { durable } from './between.ts'
import type { Stream } from './stream.ts'
import { tablesNamed } from './tables.ts'
import type { Known, Technology } from './technology.ts'

export interface AuditsHost<P> {
  readonly technology: Technology<P>
  readonly log: Log
  /** What streams now. @throws NOT_READY */
  streaming(): { readonly stream: Stream<P>; readonly mirror: Mirror; readonly known: Known<P> }
  /** Resolves when all up to `position` is in the log; on an idle source it makes the server say how far it is. */
  reached(position: P, signal: AbortSignal): Promise<unknown>
}

export class Audits<P> implements SourceAudits {
  readonly #host: AuditsHost<P>
  readonly #job = new Job<AuditReport, AuditProgress>('an audit')

  constructor(host: AuditsHost<P>) {
    this.#host = host
  }

  start(request: AuditRequest): AuditStatus {
    const { technology, log, streaming, reached } = this.#host
    tablesNamed(technology.source, technology.tables, request.tables)
    const { stream, mirror, known } = streaming()
    return this.#job.start(context => {
      const freeze = async (position: P) => {
        await reached(position, context.signal)
        return stream.between(async pipeline => {
          await durable({ technology, pipeline })
          await mirror.commit(pipeline.position)
          return { mirror: mirror.freeze(), logPosition: log.end }
        })
      }
      return runAudit({ technology, log, mirror, known, freeze, stream }, request, context)
    })
  }

  status(): AuditStatus {
    return this.#job.status()
  }

  cancel(): boolean {
    return this.#job.cancel(fail('CANCELLED', `the audit of ${this.#host.technology.source} was cancelled`))
  }

  /** What it compares with is closed when this resolves. */
  async interrupt(): Promise<void> {
    const { source } = this.#host.technology
    this.#job.cancel(fail('NOT_READY', `source ${source} has stopped streaming`, { hint: 'try again' }))
    await this.#job.ended()
  }
}
