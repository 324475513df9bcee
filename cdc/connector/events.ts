// From the raw texts of an outbox's row to its event: each field from its column, the others from the members of the payload.
import {
  type AnyRow,
  type CapturedTopic,
  describeRecord,
  type EventInput,
  fromWire,
  type RawValues,
  refusedBy,
  type TopicOrigin,
} from '../../core/index.ts'
import { type Image, NULL, UNCHANGED } from './image.ts'
import type { ColumnReader } from './rows.ts'

/** Reads events of one captured topic, out of the texts that a parked one keeps, too. */
export interface EventReader {
  fromRaw(raw: RawValues): EventInput
}

export type OutboxOrigin = Extract<TopicOrigin, { kind: 'outbox' }>

/** The fields of each variant that columns give, with the column's name. */
export function columnsOfOutbox(
  { contract }: Pick<CapturedTopic, 'contract'>,
  { columns, payload }: OutboxOrigin,
  isColumn: (name: string) => boolean,
): readonly { readonly variant: string | undefined; readonly field: string; readonly column: string }[] {
  return contract.variants.flatMap(({ name: variant, schema }) =>
    Object.keys(schema.shape).flatMap(field => {
      const column = columns[field] ?? field
      // Without a payload a field that has no column is a mistake, to be named.
      return columns[field] !== undefined || payload === undefined || (isColumn(column) && column !== payload)
        ? [{ variant, field, column }]
        : []
    }),
  )
}

interface Part {
  readonly field: string
  readonly column: ColumnReader
}

export class OutboxReader implements EventReader {
  readonly #captured: CapturedTopic
  readonly #payload: string | undefined
  readonly #columns: readonly string[]
  readonly #parts = new Map<string | undefined, readonly Part[]>()
  readonly #type

  /** @param readerOf reads a column's text as a field's schema takes it */
  constructor(
    captured: CapturedTopic,
    origin: OutboxOrigin,
    isColumn: (name: string) => boolean,
    readerOf: (
      column: string,
      schema: CapturedTopic['contract']['variants'][number]['schema']['shape'][string],
    ) => ColumnReader,
  ) {
    const { contract } = captured
    this.#captured = captured
    this.#payload = origin.payload
    this.#type = describeRecord(contract.schema, 'input', contract.name)
    const used = columnsOfOutbox(captured, origin, isColumn)
    for (const { name, schema } of contract.variants) {
      const parts = used
        .filter(({ variant }) => variant === name)
        .map(({ field, column }) => ({ field, column: readerOf(column, schema.shape[field]!) }))
      this.#parts.set(name, parts)
    }
    this.#columns = [...new Set([...used.map(({ column }) => column), ...(origin.payload ? [origin.payload] : [])])]
  }

  /** The columns that are read. */
  get columns(): readonly string[] {
    return this.#columns
  }

  /**
   * @param places column → where it stands in the image
   * @param textOf the text of the value at a place
   */
  read(
    image: Image,
    places: ReadonlyMap<string, number>,
    textOf: (place: number, start: number, end: number) => string,
  ): EventInput {
    const raw: Record<string, string | null> = {}
    for (const name of this.#columns) {
      const place = places.get(name)
      if (place === undefined || image.kinds[place] === UNCHANGED) continue
      raw[name] = image.kinds[place] === NULL ? null : textOf(place, image.starts[place]!, image.ends[place]!)
    }
    return this.fromRaw(raw)
  }

  fromRaw(raw: RawValues): EventInput {
    try {
      return { value: this.#value(raw), raw }
    } catch (error) {
      return { value: undefined, error: refusedBy(error), raw }
    }
  }

  #value(raw: RawValues): AnyRow {
    const { discriminator } = this.#captured.contract
    const members: AnyRow = { ...this.#members(raw) }
    let variant: string | undefined
    if (discriminator !== undefined) {
      const column = this.#columnOf(discriminator)
      if (column !== undefined) members[discriminator] = raw[column]
      variant = String(members[discriminator])
    }
    const value = { ...(fromWire(this.#type, members) as AnyRow) }
    // Of a variant that there is not the contract says so.
    for (const { field, column } of this.#parts.get(variant) ?? []) {
      const text = raw[column.name]
      if (field === discriminator || text === undefined) continue
      value[field] = text === null ? null : column.input(text)
    }
    return value
  }

  #columnOf(field: string): string | undefined {
    for (const parts of this.#parts.values()) {
      const part = parts.find(each => each.field === field)
      if (part) return part.column.name
    }
    return undefined
  }

  #members(raw: RawValues): AnyRow {
    const text = this.#payload === undefined ? undefined : raw[this.#payload]
    if (text === undefined || text === null) return {}
    const json: unknown = JSON.parse(text)
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw new Error(`${this.#payload}: expected a JSON object`)
    return json as AnyRow
  }
}
