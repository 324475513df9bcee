// A decider as a view: the states of its streams, folded by `evolve` like any topic's events; and its fold of one stream, on which
// commands are decided before they are in the log. Both by the same rows, so that both come to the same state.
import {
  type AnyRow,
  asMainstemError,
  ByteReader,
  ByteWriter,
  createRowCodec,
  type DeciderDefinition,
  describeFields,
  enterHandlers,
  fail,
  type HandlerOwner,
  isMainstemError,
  leaveHandlers,
  type RowCodec,
  type StateBytes,
  type StateFold,
} from '../core/index.ts'
import type { Engine } from './engine.ts'
import { keyCodecOf } from './key-codec.ts'
import { ProjectionDefinition } from './projection.ts'
import { checkResult } from './run-fold.ts'
import { StateMemory } from './state/memory.ts'
import { StateTable } from './state/state-table.ts'
import { zeroOf } from './state/zero.ts'

const views = new WeakMap<DeciderDefinition, ProjectionDefinition>()

/** The view of a decider: one for each, however often it is asked for. @throws DEFINITION_INVALID */
export function viewOfDecider(decider: DeciderDefinition): ProjectionDefinition {
  let view = views.get(decider)
  if (view === undefined) {
    const { name, spec, topic, keyColumns, evolves } = decider
    const by = Array.isArray(topic.key)
      ? Object.fromEntries(keyColumns.map(column => [column, column]))
      : keyColumns[0]!
    view = new ProjectionDefinition(name, { key: spec.key, state: spec.state }).on(topic, by, evolves)
    views.set(decider, view)
  }
  return view
}

/** Folds streams of one decider, each by itself. */
export class DeciderStates implements StateFold, HandlerOwner {
  readonly #decider: DeciderDefinition
  readonly #engine: Pick<Engine, 'read'>
  /** Has the row of the stream at hand only. */
  readonly #table: StateTable
  readonly #codec: RowCodec
  readonly #zero: AnyRow
  readonly #writer = new ByteWriter()
  /** Whether all of the view's rows are what `evolve` as it is now makes of the log. */
  readonly #viewIsOfThisCode: boolean
  #event = ''

  constructor(decider: DeciderDefinition, engine: Pick<Engine, 'read' | 'views'>) {
    const { name, spec } = decider
    const view = viewOfDecider(decider)
    const type = describeFields(spec.state, 'output', `${name}.state`)
    this.#decider = decider
    this.#engine = engine
    this.#zero = zeroOf(spec.state, name)
    this.#table = new StateTable(view, type, [], keyCodecOf(view), this.#zero, new StateMemory())
    this.#codec = createRowCodec(type)
    this.#viewIsOfThisCode = engine.views.get(name)?.status().continued.length === 0
  }

  describeHandler(): string {
    return `${this.#decider.name}.evolve.${this.#event}`
  }

  fold(key: unknown, state: StateBytes, events: readonly AnyRow[]): Uint8Array {
    const table = this.#table
    const row = table.findOrAdd(table.keys.idOf(key))
    try {
      if (state !== undefined) table.readStored(row, new ByteReader(Buffer.from(state)))
      for (const event of events) this.#evolve(row, event)
      const writer = this.#writer
      writer.at = 0
      table.writeStored(row, writer)
      return writer.copy()
    } finally {
      table.close()
      table.remove(row)
    }
  }

  #evolve(row: number, event: AnyRow): void {
    const table = this.#table
    this.#event = String(event['type'])
    enterHandlers(this)
    try {
      table.open(row)
      const evolve = this.#decider.evolves[this.#event] as (state: AnyRow, event: AnyRow) => unknown
      checkResult(evolve(table.draft, event))
      table.close()
    } catch (error) {
      leaveHandlers()
      const { code, message, detail, hint } = asMainstemError(error, 'HANDLER_FAILED', 'a handler threw')
      throw fail(code, message, {
        detail: `${this.describeHandler()}${detail ? `: ${detail}` : ''}`,
        hint: hint ?? 'mend the function given to evolve',
        cause: error,
      })
    } finally {
      leaveHandlers()
    }
  }

  read(state: StateBytes): AnyRow {
    return this.#codec.decode(new ByteReader(Buffer.from(state ?? this.#start())))
  }

  #start(): Uint8Array {
    const writer = this.#writer
    writer.at = 0
    this.#codec.encode(writer, this.#zero)
    return writer.copy()
  }

  async live(key: unknown): Promise<{ readonly position: number; readonly state: StateBytes } | undefined> {
    if (!this.#viewIsOfThisCode) return undefined
    try {
      const {
        position,
        rows: [row],
      } = await this.#engine.read([{ view: this.#decider.name, key }])
      if (row === undefined) return { position, state: undefined }
      const writer = this.#writer
      writer.at = 0
      this.#codec.encode(writer, row)
      return { position, state: writer.copy() }
    } catch (error) {
      // It has stopped, or is being rebuilt: the log has the events.
      if (isMainstemError(error) && (error.code === 'VIEW_STOPPED' || error.code === 'VIEW_REBUILDING'))
        return undefined
      throw error
    }
  }
}
