// What operators do over HTTP is a record of the log: who, what, when (by its append time), and how it went. It is written when the
// action has been done and before it is answered, so that whatever was answered is there. Bodies are not written: of them only members
// that name things.
import { z } from 'zod'
import { ACTIONS_TOPIC, type Contract, compileContract, type Log, type LogTopic, type Streams } from '../core/index.ts'

const schema = z.object({
  /** One stream of all actions, so that the newest are found at once. */
  list: z.string(),
  who: z.string(),
  /** Where it came from. */
  address: z.string(),
  /** The verb of its scope: replay, savepoint. */
  action: z.string(),
  /** Method and path. */
  call: z.string(),
  /** JSON of what the body names. */
  about: z.string().nullable(),
  status: z.int32(),
  /** Of the error that it ended with. */
  code: z.string().nullable(),
})

export type Action = Omit<z.output<typeof schema>, 'list'>

const LIST = 'actions'
/** Members of bodies that name things. Others may be values of rows, conditions over them, or whatever a client sends. */
const NAMING = [
  'name',
  'table',
  'tables',
  'views',
  'from',
  'repair',
  'dryRun',
  'all',
  'positions',
  'trim',
  'compact',
  'to',
  'force',
]
const ABOUT_CHARS_MAX = 2_000

const actionsContract = (): Contract => compileContract(ACTIONS_TOPIC, 'topic', schema, 'list')

/** What a body names, as JSON; null where that is nothing. */
export function aboutOf(body: unknown): string | null {
  if (typeof body !== 'string') return null
  try {
    const members = Object.entries(JSON.parse(body) as object).filter(([name]) => NAMING.includes(name))
    return members.length === 0 ? null : JSON.stringify(Object.fromEntries(members)).slice(0, ABOUT_CHARS_MAX)
  } catch {
    return null
  }
}

/** An action as JSON carries it. */
export interface ActionWire extends Omit<Action, 'about'> {
  readonly position: string
  /** ISO 8601, its append time. */
  readonly at: string
  readonly about: unknown
}

export interface ActionsWire {
  /** Newest first. */
  readonly actions: readonly ActionWire[]
  /** `before` of the next page; null where there are no older ones. */
  readonly next: string | null
}

export class ActionLog {
  readonly #log: Log & Streams
  #topic: Promise<LogTopic> | undefined

  constructor(log: Log & Streams) {
    this.#log = log
  }

  /** @throws LOG_FULL, LOG_FAILED, LOG_CLOSED */
  async append(action: Action): Promise<void> {
    this.#topic ??= this.#log.topic(actionsContract())
    const batch = this.#log.batch()
    batch.event(await this.#topic, { ...action, list: LIST })
    await batch.commit()
  }

  /** @param before version of the oldest one of the page before */
  async page(before: number, limit: number): Promise<ActionsWire> {
    const topic = this.#log.findTopic(ACTIONS_TOPIC)
    if (!topic || before <= 1) return { actions: [], next: null }
    const actions: ActionWire[] = []
    let oldest = 1
    const from = before === Number.MAX_SAFE_INTEGER ? {} : { from: before - 1 }
    for await (const { position, version, event } of this.#log.stream(topic, LIST, {
      backwards: true,
      limit,
      ...from,
    })) {
      const { list: _, about, ...action } = schema.parse(event)
      const atMs = await this.#timeOf(position)
      actions.push({
        position: String(position),
        at: new Date(atMs).toISOString(),
        ...action,
        about: about === null ? null : readable(about),
      })
      oldest = version
    }
    return { actions, next: oldest > 1 ? String(oldest) : null }
  }

  /** The append time of a record. */
  async #timeOf(position: number): Promise<number> {
    const reader = this.#log.read(position - 1)
    try {
      const [block] = await reader.ready()
      return block?.appendTimeMs ?? Number.NaN
    } finally {
      reader.close()
    }
  }
}

/** What was cut is a text. */
function readable(about: string): unknown {
  try {
    return JSON.parse(about)
  } catch {
    return about
  }
}
