// What a projection emits while it folds, until its publisher takes it. A value is checked against its topic's contract and
// encoded in the call of `ctx.emit`, so that a refused one fails the handler and nothing that a handler still holds is kept.
// An emission is identified by (projection, cause, key, index): they come out in the order of the causes' positions, then of
// the bytes of the rows' keys, then in which a key's handlers emitted them. However records were folded, that order is the same.
import {
  type AnyTopic,
  ByteWriter,
  type Contract,
  compileContract,
  createRecordCodec,
  fail,
  RECORD_BYTES_MAX,
  type RecordCodec,
} from '../../core/index.ts'
import type { KeyId, Keys } from '../state/keys.ts'

/** A record that is to be published. Plain data: it may come from another thread. */
export interface Emission {
  /** Position of the record whose handler emitted it. */
  readonly cause: number
  /** Key of the row whose handler it was. */
  readonly key: KeyId
  /** Its topic's place in `emits`. */
  readonly topic: number
  /** As `createRecordCodec` writes it. */
  readonly bytes: Uint8Array
}

/** What one projection emitted. */
export interface Emitted {
  readonly projection: string
  readonly emissions: readonly Emission[]
}

/** What one key may emit for one record: all of a cause becomes one batch, which stands in memory. */
const BYTES_OF_CALL_MAX = 4 * RECORD_BYTES_MAX
/** A writer that has grown beyond is not kept. */
const WRITER_BYTES_KEPT = 1024 * 1024

/** A topic that a projection emits to, compiled. */
export interface EmittedTopic {
  readonly contract: Contract
  readonly codec: RecordCodec
}

type DeclaredTopic = AnyTopic & { readonly key: unknown }

const compiled = new WeakMap<object, EmittedTopic>()

/** Compiled once, however often its projection is opened. */
export function emittedTopic(topic: AnyTopic): EmittedTopic {
  let found = compiled.get(topic)
  if (found === undefined) {
    const { name, value, key, upcasts, tags } = topic as DeclaredTopic
    const contract = compileContract(name, 'topic', value, key, upcasts, tags)
    found = { contract, codec: createRecordCodec(contract) }
    compiled.set(topic, found)
  }
  return found
}

/** An emission whose bytes are still in the writer. */
interface Kept {
  readonly cause: number
  readonly key: KeyId
  readonly topic: number
  readonly from: number
  readonly to: number
}

export class Emissions {
  /** Of causes up to here all is published: what they emit again is checked, and dropped. Infinity where nobody publishes. */
  publishedUpTo = Number.POSITIVE_INFINITY
  readonly #projection: string
  readonly #topics: ReadonlyMap<string, EmittedTopic & { readonly number: number }>
  #kept: Kept[] = []
  #writer = new ByteWriter()
  /** The newest emission's, and what its key has emitted for it so far: counted whether it is kept or not, as a replay must. */
  #cause = 0
  #key: KeyId | undefined
  #callBytes = 0

  constructor(projection: string, topics: readonly AnyTopic[]) {
    this.#projection = projection
    this.#topics = new Map(topics.map((topic, number) => [topic.name, { ...emittedTopic(topic), number }]))
  }

  /**
   * Takes what a handler emits.
   * @param value of the topic's input type
   * @throws RECORD_REFUSED, RECORD_TOO_LARGE; DEFINITION_INVALID where the projection does not declare the topic
   */
  emit(topic: { readonly name: string }, value: unknown, cause: number, key: KeyId): void {
    const emitted = this.#topics.get(topic.name)
    if (emitted === undefined) throw notDeclared(this.#projection, topic.name)
    const writer = this.#writer
    const from = writer.at
    if (cause !== this.#cause || key !== this.#key) {
      this.#cause = cause
      this.#key = key
      this.#callBytes = 0
    }
    emitted.codec.encode(writer, emitted.contract.parse(value))
    const to = writer.at
    this.#callBytes += to - from
    const tooLarge = to - from > RECORD_BYTES_MAX || this.#callBytes > BYTES_OF_CALL_MAX
    if (tooLarge || cause <= this.publishedUpTo) writer.at = from
    else this.#kept.push({ cause, key, topic: emitted.number, from, to })
    if (tooLarge) throw this.#tooLarge(topic.name, to - from)
  }

  #tooLarge(topic: string, bytes: number) {
    const one = bytes > RECORD_BYTES_MAX
    return fail(
      'RECORD_TOO_LARGE',
      one ? `a record of ${topic} is too large` : `'${this.#projection}' emits too much for one record`,
      {
        detail: one
          ? `it has ${bytes} bytes, the limit is ${RECORD_BYTES_MAX}`
          : `the limit is ${BYTES_OF_CALL_MAX} bytes for each record and key`,
      },
    )
  }

  /** How many are kept: what `undo` goes back to. */
  get count(): number {
    return this.#kept.length
  }

  /** Forgets all but the first `count`: the call that emitted the others has no effect. */
  undo(count: number): void {
    this.#key = undefined
    const first = this.#kept[count]
    if (first === undefined) return
    this.#writer.at = first.from
    this.#kept.length = count
  }

  /** Takes those whose causes are before a position, as they came. All records before it have been folded. */
  take(before: number = Number.POSITIVE_INFINITY): readonly Emission[] {
    const kept = this.#kept
    let count = kept.length
    while (count > 0 && kept[count - 1]!.cause >= before) count--
    if (count === 0) return []
    const end = kept[count - 1]!.to
    const all = Buffer.from(this.#writer.buffer.subarray(0, end))
    const taken = kept
      .slice(0, count)
      .map(({ cause, key, topic, from, to }) => ({ cause, key, topic, bytes: all.subarray(from, to) }))
    this.#keep(kept.slice(count), end)
    return taken
  }

  /** What was not taken goes to the beginning of the writer. */
  #keep(left: readonly Kept[], from: number): void {
    const bytes = this.#writer.buffer.subarray(from, this.#writer.at)
    const writer = this.#writer.buffer.length > WRITER_BYTES_KEPT ? new ByteWriter() : this.#writer
    const rest = Buffer.from(bytes)
    writer.at = 0
    writer.raw(rest)
    this.#writer = writer
    this.#kept = left.map(each => ({ ...each, from: each.from - from, to: each.to - from }))
  }

  /** Drops all: the view has stopped. */
  drop(): void {
    this.#kept = []
    this.#writer = new ByteWriter()
  }
}

/** Canonical order. What one key emitted for one cause stays as it came; a key has one owner, so that parts of several join alike. */
export function inOrder(emissions: readonly Emission[], keys: Keys): readonly Emission[] {
  return emissions.toSorted((a, b) => {
    if (a.cause !== b.cause) return a.cause - b.cause
    return a.key === b.key ? 0 : Buffer.compare(keys.bytesOf(a.key), keys.bytesOf(b.key))
  })
}

const notDeclared = (projection: string, topic: string) =>
  fail('DEFINITION_INVALID', `'${projection}' does not declare that it emits to ${topic}`, {
    hint: `say so where it is declared: emits: [${topic}]`,
  })
