// From a record of the log to the views that fold it: the routes of each topic, and what handlers are given of a record.
import { asMainstemError, type KeyCodec, type LogTopic, type RecordCursor, type SourceTable } from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import type { RecordInfo } from './handler-context.ts'
import type { Route } from './route.ts'
import type { FoldedView } from './view.ts'

/** What folds a topic: its routes as a table or topic, and as a stream of changes. */
interface TopicRoutes {
  readonly direct: Route[]
  readonly changes: Route[]
  /** The event-time field, if the topic declares one. */
  readonly time: string | undefined
}

export class RecordFolder {
  readonly #info: RecordInfo
  readonly #byTopic = new Map<string, TopicRoutes>()
  /** The topic of the last record, and what folds it. */
  #topic: LogTopic | undefined
  #routes: TopicRoutes | undefined
  #key: KeyCodec | undefined

  /** @param info what handlers know of the record: set for each one */
  constructor(views: readonly FoldedView[], parts: ApplicationParts, info: RecordInfo) {
    this.#info = info
    this.#connect(views, parts)
  }

  /** Ties each view's routes to the topics and views they fold. */
  #connect(folded: readonly FoldedView[], { topics }: ApplicationParts): void {
    const views = new Map(folded.map(view => [view.name, view]))
    const times = new Map(topics.map(topic => [topic.name, (topic as { time?: string }).time]))
    for (const view of folded) {
      view.routes.forEach((route, n) => {
        const input = view.definition.ons[n]?.input
        const from = input?.kind === 'projection' ? views.get(route.input) : undefined
        if (from) {
          from.consumers.push(route)
          return
        }
        const topic = input?.kind === 'changes' ? (input as unknown as { table: SourceTable }).table.name : route.input
        const routes = this.#byTopic.get(topic) ?? { direct: [], changes: [], time: times.get(topic) }
        this.#byTopic.set(topic, routes)
        ;(input?.kind === 'changes' ? routes.changes : routes.direct).push(route)
      })
    }
  }

  /** Folds the record at the cursor; false where no view folds its topic. */
  fold(cursor: RecordCursor, commitTimeMs: number): boolean {
    const { topic } = cursor
    if (topic !== this.#topic) {
      // Most records are of the topic of the one before.
      this.#topic = topic
      this.#routes = this.#byTopic.get(topic.name)
      this.#key = topic.contract.key
    }
    const routes = this.#routes
    if (routes === undefined) return false
    if (cursor.op === 'parked') return true
    const info = this.#info
    info.position = cursor.position
    info.timeMs = commitTimeMs
    try {
      if (routes.direct.length > 0) this.#foldDirect(cursor, routes)
      if (routes.changes.length > 0) this.#foldChanges(cursor, routes)
    } catch (error) {
      this.#stopReaders(routes, error)
    }
    return true
  }

  /** Handlers see the record by accessors; they are taken back when all have had it. */
  #foldDirect(cursor: RecordCursor, routes: TopicRoutes): void {
    const before = cursor.lendBefore()
    const after = cursor.lendAfter()
    const info = this.#info
    if (routes.time !== undefined && after !== null) setTime(info, after[routes.time])
    const key = this.#key!
    const { direct } = routes
    for (let n = 0; n < direct.length; n++) {
      const route = direct[n]!
      if (route.view.position < info.position) route.view.fold(route, before, after, key)
    }
    cursor.recall()
  }

  /** A stream of changes is of events that hold rows: handlers may keep them. */
  #foldChanges(cursor: RecordCursor, routes: TopicRoutes): void {
    const before = cursor.before()
    const after = cursor.after()
    const row = after ?? before
    if (row === null) return
    const key = this.#key!
    const inputKey = { fromRow: () => key.fromRow(row) }
    const change = { op: cursor.op, before, after }
    for (const route of routes.changes) {
      if (route.view.position < this.#info.position) route.view.fold(route, null, change, inputKey)
    }
  }

  /** A record that its upcast cannot read stops the views that fold its topic, and no others. */
  #stopReaders(routes: TopicRoutes, error: unknown): void {
    const known = asMainstemError(error)
    if (!known.code.startsWith('CONTRACT_UPCAST') && known.code !== 'HANDLER_IMPURE') throw error
    for (const route of [...routes.direct, ...routes.changes]) route.view.stop(known)
  }
}

function setTime(info: RecordInfo, time: unknown): void {
  if (time instanceof Date) info.timeMs = time.getTime()
}
