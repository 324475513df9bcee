// From a record of the log to the views that fold it: the routes of each topic, and what handlers are given of a record.
import {
  asMainstemError,
  type KeyCodec,
  type LogBlock,
  type LogTopic,
  type RecordCursor,
  type SourceTable,
  VIEWS_TOPIC,
} from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import type { RecordInfo } from './handler-context.ts'
import type { Route } from './route.ts'
import { RunChain, type TopicRuns } from './run-chain.ts'
import type { FoldedView } from './view.ts'
import { readViewControl } from './view-control.ts'

/** Records folded between two looks at whose turn it is. */
const RECORDS_PER_CLOCK_LOOK = 128

/** What folds a topic: its routes as a table or topic, and as a stream of changes. */
interface TopicRoutes extends TopicRuns {
  /** Topics that views have in common share one: their records are folded in the order of the log. Others need not wait for them. */
  chain: RunChain
  /** Whether its records may be folded in runs: each view takes them by one route, as they are. */
  runs: boolean
  readonly direct: Route[]
  readonly changes: Route[]
  /** The event-time field, if the topic declares one. */
  readonly time: string | undefined
}

/** When the source committed the transaction that a block is of, or when it was appended: milliseconds. */
export const commitTimeOf = ({ mark, appendTimeMs }: LogBlock): number =>
  mark?.commitTimeUs === undefined ? appendTimeMs : mark.commitTimeUs / 1000

export class RecordFolder {
  readonly #views: readonly FoldedView[]
  readonly #expiring: readonly FoldedView[]
  readonly #info: RecordInfo
  readonly #byTopic = new Map<string, TopicRoutes>()
  /** The topic of the last record, and what folds it. */
  #topic: LogTopic | undefined
  #routes: TopicRoutes | undefined
  #key: KeyCodec | undefined
  /** Chains with a run that is not folded yet, in the order of their first records. */
  readonly #open: RunChain[] = []
  #timeMs = 0

  /**
   * @param views what folds views is told of their changes by them (`connectViews`)
   * @param info what handlers know of the record: set for each one
   */
  constructor(views: readonly FoldedView[], parts: ApplicationParts, info: RecordInfo) {
    this.#views = views
    this.#expiring = views.filter(view => view.expires)
    this.#info = info
    this.#connect(views, parts)
    this.#chain(views)
  }

  /** Ties each view's routes to the topics that they fold. */
  #connect(folded: readonly FoldedView[], { topics }: ApplicationParts): void {
    const times = new Map(topics.map(topic => [topic.name, (topic as { time?: string }).time]))
    for (const view of folded) {
      view.routes.forEach((route, n) => {
        const input = view.definition.ons[n]?.input
        if (input?.kind === 'projection') return
        const topic = input?.kind === 'changes' ? (input as unknown as { table: SourceTable }).table.name : route.input
        const routes = this.#byTopic.get(topic) ?? {
          chain: new RunChain(),
          runs: true,
          direct: [],
          changes: [],
          time: times.get(topic),
        }
        this.#byTopic.set(topic, routes)
        ;(input?.kind === 'changes' ? routes.changes : routes.direct).push(route)
      })
    }
  }

  /** Puts topics that a view has in common into one chain. */
  #chain(folded: readonly FoldedView[]): void {
    const topics = [...this.#byTopic.values()]
    for (const view of folded) {
      const common = topics.filter(({ direct, changes }) => [...direct, ...changes].some(route => route.view === view))
      const chains = new Set(common.map(topic => topic.chain))
      const chain = common[0]?.chain
      if (chain) for (const topic of topics) if (chains.has(topic.chain)) topic.chain = chain
    }
    for (const topic of topics) {
      const views = new Set(topic.direct.map(route => route.view))
      topic.runs = topic.changes.length === 0 && views.size === topic.direct.length
      for (const view of views) if (!topic.chain.views.includes(view)) topic.chain.views.push(view)
    }
  }

  /**
   * Takes the record at the cursor, and perhaps those that follow it: they are folded by `flush` at the latest. Gives how many
   * they are: 0 where no view folds the topic.
   */
  fold(cursor: RecordCursor, commitTimeMs: number): number {
    const { topic } = cursor
    if (topic !== this.#topic) {
      // Most records are of the topic of the one before.
      this.#topic = topic
      this.#routes = this.#byTopic.get(topic.name)
      this.#key = topic.contract.key
    }
    const routes = this.#routes
    if (routes === undefined) {
      if (topic.name === VIEWS_TOPIC) this.#foldControl(cursor)
      return 0
    }
    this.#timeMs = commitTimeMs
    const { chain } = routes
    const lent = routes.runs ? cursor.lender : undefined
    if (lent === undefined) {
      chain.flush(commitTimeMs)
      this.#foldOne(cursor, routes)
      return 1
    }
    if (chain.empty && !this.#open.includes(chain)) this.#open.push(chain)
    return chain.take(cursor, lent, routes, this.#key!, commitTimeMs)
  }

  /** Folds a block's records. @param turn lets others run when it is their turn: between records nothing is left to be folded */
  async foldBlock(block: LogBlock, turn: () => Promise<void>): Promise<void> {
    const timeMs = commitTimeOf(block)
    this.beginTransaction(block)
    const cursor = block.records()
    let left = RECORDS_PER_CLOCK_LOOK
    while (cursor.next()) {
      left -= Math.max(1, this.fold(cursor, timeMs))
      if (left > 0) continue
      left = RECORDS_PER_CLOCK_LOOK
      this.flush()
      await turn()
    }
    this.flush()
  }

  /** Folds what has been taken: before a transaction ends, and before anything else runs. */
  flush(): void {
    const open = this.#open
    for (let n = 0; n < open.length; n++) open[n]!.flush(this.#timeMs)
    open.length = 0
  }

  #foldControl(cursor: RecordCursor): void {
    const { view: name, event, positions } = readViewControl(cursor.after()!)
    if (event !== 'redrive') return
    const view = this.#views.find(each => each.name === name)
    if (view === undefined || view.position >= cursor.position) return
    this.flush()
    this.#info.position = cursor.position
    view.redrive(positions)
  }

  /** To be called before the records of a block: of the first one of a transaction at least. */
  beginTransaction(block: LogBlock): void {
    this.#info.appendTimeMs = block.appendTimeMs
    // What has no position is no time that a view could be a function of.
    if (this.#expiring.length === 0 || block.end < block.first) return
    for (const view of this.#expiring) if (view.position < block.end) view.expire(block.appendTimeMs)
  }

  /** What handlers of changes that are passed on are told: it does not depend on how records were taken together. */
  beginEnd(block: LogBlock): void {
    this.#info.position = block.end
    this.#info.timeMs = commitTimeOf(block)
  }

  /** Ends the transaction of which a block is the last one, all its records having been folded. */
  endTransaction(block: LogBlock): void {
    this.beginEnd(block)
    for (const view of this.#views) if (view.position < block.end) view.endTransaction(block.end)
  }

  #foldOne(cursor: RecordCursor, routes: TopicRoutes): void {
    if (cursor.op === 'parked') return
    const info = this.#info
    info.position = cursor.position
    info.timeMs = this.#timeMs
    try {
      if (routes.direct.length > 0) this.#foldDirect(cursor, routes)
      if (routes.changes.length > 0) this.#foldChanges(cursor, routes)
    } catch (error) {
      this.#stopReaders(routes, error)
    }
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
