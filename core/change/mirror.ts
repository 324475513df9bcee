// The mirror of a source: the current accepted row of every captured key, on disk, so that a change record always has
// whole rows before and after, whatever the database sends.
//
// Guarantees: it is a cached value of the log. What it commits stands in the log already (log first, mirror second), with
// the log position it stands at; at open it catches up from there. So it may lag, or be deleted, but never leads. A commit of
// many rows may be cut short: some rows are then those of later positions, and catching up writes them once more.
import { rmSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ObjectContract } from '../contract/index.ts'
import {
  CONTROL_TOPIC,
  type Held,
  type Log,
  type LogHold,
  type LogTopic,
  type ParkedRow,
  type RecordCursor,
  SOURCE_EVENTS_TOPIC,
} from '../log/index.ts'
import { openTableStore, readStoreMeta, type StoredEntry, type TableStore } from '../state/index.ts'
import { type ControlState, NO_CONTROL, readControl } from './control.ts'
import { MirrorTable } from './mirror-table.ts'
import { ParkedEvents } from './parked-events.ts'
import type { ParkedRows } from './parked-rows.ts'
import { cutRaw } from './raw.ts'
import type { ParkedEntry } from './source.ts'
import { readSchema, type SchemaColumn } from './source-events.ts'

const META = 'mirror'
/** Enough for a commit, about 6 MiB in memory: the more rows, the more of them share a page of the store, which is written once. */
const COMMIT_ROWS = 49_152
const COMMIT_BYTES = 6 * 1024 * 1024
/** Commits under way, each with its rows in memory, before whoever writes has to wait for the disk. */
export const MIRROR_COMMITS_MAX = 2
/** Records applied in one turn of the event loop: about 3 ms. */
const CATCH_UP_SLICE = 1_000
/** Rows, and their bytes, that a unit may have in memory before they are spilled: with what keeping them costs, about 20 MiB. */
const SPILL_ROWS = 131_072
const SPILL_BYTES = 12 * 1024 * 1024
/** Version of the stored form; another one on disk means: rebuild from the log. */
const FORMAT = 1

interface MirrorMeta {
  readonly format: number
  readonly logId: string
  readonly position: number
  /** Of the log's base, as it was read; the first versions wrote none. */
  readonly generation?: number
  readonly control: ControlState
  readonly layouts: Readonly<Record<string, string>>
  readonly schemas?: Readonly<Record<string, readonly SchemaColumn[]>>
}

export interface MirrorOptions {
  readonly path: string
  readonly log: Log
  readonly source: string
  readonly tables: readonly { readonly contract: ObjectContract; readonly topic: LogTopic }[]
  /** Captured topics of events: only what is parked of them is kept. */
  readonly topics?: readonly { readonly topic: LogTopic }[]
}

/** Opens the mirror and brings it level with the log's durable end. */
export async function openMirror(options: MirrorOptions): Promise<Mirror> {
  let store = openTableStore(options.path)
  const meta = store.meta(META) as MirrorMeta | undefined
  const layouts = layoutsOf(options.tables)
  const usable =
    meta?.format === FORMAT &&
    meta.logId === options.log.id &&
    meta.position <= options.log.end &&
    // Below what was changed it is good only for the base that it was read from.
    (meta.position >= options.log.base.changedTo || (meta.generation ?? 0) === options.log.base.generation) &&
    Object.entries(layouts).every(([name, layout]) => (meta.layouts[name] ?? layout) === layout)
  if (meta && !usable) {
    await store.close()
    rmSync(options.path, { recursive: true, force: true })
    store = openTableStore(options.path)
  }
  const mirror = new Mirror(store, options, layouts, usable ? meta : undefined)
  // A table that the mirror did not hold before may have older records in the log.
  const missing = usable && Object.keys(layouts).some(name => meta.layouts[name] === undefined)
  await mirror.catchUp(missing ? 0 : mirror.position)
  return mirror
}

const holdName = (source: string): string => `mirror ${source}`

/** What a mirror that nobody has open needs of the log: all after its last commit. Undefined where there is none of that log. */
export async function mirrorHeld(path: string, source: string, logId: string): Promise<Held | undefined> {
  const meta = (await readStoreMeta(path, META)) as MirrorMeta | undefined
  return meta?.logId === logId ? { name: holdName(source), position: meta.position } : undefined
}

const layoutsOf = (tables: MirrorOptions['tables']): Record<string, string> =>
  Object.fromEntries(
    tables.map(({ contract }) => [
      contract.name,
      JSON.stringify([
        contract.key.columns.map(column => column.name),
        contract.type,
        ...(contract.version > 1 ? [contract.version] : []),
      ]),
    ]),
  )

/** A mirror as it was when it was frozen. */
export interface FrozenMirror {
  /** Key bytes and stored values of all rows of a table; valid up to the next one. */
  rows(table: MirrorTable): Iterable<StoredEntry>
  /** Texts of the keys of its parked rows. */
  parkedKeys(table: MirrorTable): Iterable<string>
  close(): void
}

export class Mirror {
  readonly #store: TableStore
  readonly #options: MirrorOptions
  readonly #layouts: Readonly<Record<string, string>>
  readonly tables: ReadonlyMap<string, MirrorTable>
  readonly events: ReadonlyMap<string, ParkedEvents>
  #position: number
  #control: ControlState
  /** The columns of captured tables in the database, as the log last said. */
  readonly schemas: Map<string, readonly SchemaColumn[]>
  #commits = 0
  /** What comes after the last commit is needed as it is. */
  readonly #hold: LogHold
  #last: Promise<void> = Promise.resolve()

  constructor(
    store: TableStore,
    options: MirrorOptions,
    layouts: Readonly<Record<string, string>>,
    meta: MirrorMeta | undefined,
  ) {
    this.#store = store
    this.#options = options
    this.#layouts = layouts
    this.#position = meta?.position ?? 0
    // The first versions knew of no reading.
    this.#control = { ...NO_CONTROL, ...meta?.control }
    this.schemas = new Map(Object.entries(meta?.schemas ?? {}))
    this.#hold = options.log.hold(holdName(options.source), this.#position)
    this.tables = new Map(
      options.tables.map(({ contract, topic }) => [contract.name, new MirrorTable(store, contract, topic)]),
    )
    for (const table of this.tables.values()) table.parkedCount = table.countParked()
    this.events = new Map((options.topics ?? []).map(({ topic }) => [topic.name, new ParkedEvents(store, topic)]))
  }

  /** The log position of everything in it, committed or not. */
  get position(): number {
    return this.#position
  }

  get control(): ControlState {
    return this.#control
  }

  set control(state: ControlState) {
    this.#control = state
  }

  /** Row writes not yet committed. */
  get pending(): number {
    return this.#store.pending
  }

  /** True where what is not committed should not stay in memory: `spill` then, in the midst of a unit. */
  get isLarge(): boolean {
    return this.#store.pending >= SPILL_ROWS || this.#store.pendingBytes >= SPILL_BYTES
  }

  /** True where some of what is not committed was spilled. */
  get isSpilled(): boolean {
    return this.#store.isSpilled
  }

  /** Moves what is not committed to disk, where it is found as before. Nothing may be written before it resolves. @throws LOG_FULL */
  async spill(): Promise<void> {
    await this.#store.spill()
    for (const rows of this.#all()) rows.spilled()
  }

  /** Whether there is enough for a commit. */
  get isDue(): boolean {
    return this.#store.pending >= COMMIT_ROWS || this.#store.pendingBytes >= COMMIT_BYTES
  }

  /** Commits under way. */
  get commits(): number {
    return this.#commits
  }

  get parkedCount(): number {
    let count = 0
    for (const rows of this.#all()) count += rows.parkedCount
    return count
  }

  *#all(): Iterable<ParkedRows> {
    yield* this.tables.values()
    yield* this.events.values()
  }

  table(name: string): MirrorTable {
    const table = this.tables.get(name)
    if (!table) throw new Error(`the mirror has no table ${name}`)
    return table
  }

  /** For lists: long values are cut. */
  parked(limit: number): ParkedEntry[] {
    const entries: ParkedEntry[] = []
    for (const rows of this.#all()) {
      if (rows.parkedCount === 0) continue
      for (const entry of rows.parked()) {
        if (entries.length >= limit) return entries
        entries.push({ ...entry, raw: cutRaw(entry.raw) })
      }
    }
    return entries
  }

  /**
   * Commits everything written so far, which must be durable in the log up to `position`. What is written after this
   * call belongs to the next commit. They follow each other.
   * @param generation of the log's base that it was read from
   */
  commit(position: number, generation = this.#options.log.base.generation): Promise<void> {
    this.#position = position
    const { log } = this.#options
    const meta: MirrorMeta = {
      format: FORMAT,
      logId: log.id,
      position,
      generation,
      control: this.#control,
      schemas: Object.fromEntries(this.schemas),
      layouts: this.#layouts,
    }
    this.#store.setMeta(META, meta)
    this.#commits++
    const committed = [...this.#all()].map(rows => rows.beginCommit())
    const done = this.#store
      .commit()
      .then(() => {
        for (const end of committed) end()
        this.#hold.move(position)
      })
      .finally(() => {
        this.#commits--
      })
    this.#last = done
    done.catch(() => {})
    return done
  }

  /** Resolves when all commits asked for so far are done. @throws LOG_FULL, LOG_FAILED */
  committed(): Promise<void> {
    return this.#last
  }

  /** Applies what the log holds after `from`, up to its durable end. */
  async catchUp(from: number): Promise<void> {
    const reader = this.#options.log.read(from)
    try {
      for (;;) {
        const blocks = await reader.ready()
        if (blocks.length === 0) break
        for (const block of blocks) {
          const records = block.records()
          for (let n = 1; records.next(); n++) {
            this.#apply(records, block.mark?.position ?? '')
            if (this.isLarge) await this.spill()
            if (n % CATCH_UP_SLICE === 0) await nextTurn()
          }
          if (block.last && this.isDue) {
            const done = this.commit(block.end, reader.generation)
            if (this.#commits >= MIRROR_COMMITS_MAX) await done
          }
          await nextTurn()
        }
      }
    } finally {
      reader.close()
    }
    await this.commit(this.#options.log.end)
  }

  #apply(record: RecordCursor, position: string): void {
    if (record.topic.name === CONTROL_TOPIC) {
      const value = record.after()
      const state = value ? readControl(this.#options.source, value) : undefined
      if (state) this.#control = state
      return
    }
    if (record.topic.name === SOURCE_EVENTS_TOPIC) {
      const value = record.after()
      const known = value ? readSchema(this.#options.source, value) : undefined
      if (known) this.schemas.set(known.table, known.columns)
      return
    }
    const table = this.tables.get(record.topic.name)
    if (!table) {
      const row = record.op === 'parked' ? record.parked() : null
      if (row) this.events.get(record.topic.name)?.apply(row, position, record.position)
      return
    }
    if (record.op === 'parked') {
      const row = record.parked()
      if (row) applyParked(table, row, position, record.position)
      return
    }
    const before = record.op === 'insert' ? null : record.before()
    const after = record.op === 'delete' ? null : record.after()
    const { key } = table.contract
    if (before) {
      table.remove(key.encodeFromRow(before))
      if (table.parkedCount > 0) table.unpark(key.format(key.fromRow(before)))
    }
    if (after) {
      table.put(key.encodeFromRow(after), table.encode(after, this.#control.epoch))
      if (table.parkedCount > 0) table.unpark(key.format(key.fromRow(after)))
    }
  }

  /** The rows that are committed now, whatever happens to them later. Only after a commit of all that was written. */
  freeze(): FrozenMirror {
    const frozen = this.#store.freeze()
    return {
      rows: table => frozen.entries(table.name),
      *parkedKeys(table) {
        for (const { key } of table.frozen(frozen)) yield key
      },
      close: () => frozen.close(),
    }
  }

  /** Closes without committing: what was not committed is found again in the log. */
  async close(): Promise<void> {
    await this.#last.catch(() => {})
    this.#hold.release()
    await this.#store.close()
  }
}

/** A parked record says that a row is parked; with `delete`, that it no longer is. */
export function applyParked(table: MirrorTable, row: ParkedRow, position: string, logPosition: number): void {
  if (row.op === 'delete') {
    table.unpark(row.key)
    return
  }
  const { key, op, raw, error } = row
  table.park({ topic: table.name, key, op, position, logPosition, error, raw })
}
