// A shard behind a channel: takes what the coordinator asks, one thing after the other, and answers.
import {
  asMainstemError,
  ByteWriter,
  createRowCodec,
  errorOf,
  type MainstemError,
  type RowCodec,
  reportOf,
} from '../../core/index.ts'
import { cannotCheckpoint } from '../checkpoint/failure.ts'
import type { LoadRequest, ShardCheckpoints } from '../checkpoint/member.ts'
import type { PartRequest } from '../checkpoint/part.ts'
import type { RecordedChanges } from '../feed/recorder.ts'
import { ORDER_TURN_MS, OrderAtCut } from '../indexes/order-at-cut.ts'
import { writeFound } from '../indexes/range-read.ts'
import type { CoordinatorChannel, RowsWanted, ToShard, ViewFacts } from './messages.ts'
import type { Shard } from './shard.ts'

type RangeWanted = Extract<ToShard, { type: 'range' }>

export class ShardServer {
  readonly #shard: Shard
  readonly #member: ShardCheckpoints
  readonly #channel: CoordinatorChannel
  /** Of the rows that are shown. */
  readonly #codecs: readonly RowCodec[]
  readonly #writer = new ByteWriter()
  /** Rows that are being read in an order at one cut. */
  readonly #orders = new Map<number, OrderAtCut>()
  #tail: Promise<void> = Promise.resolve()
  #complete: readonly string[] = []
  #failed = false
  #writing: Promise<void> = Promise.resolve()
  readonly #closed = Promise.withResolvers<void>()

  /** @param member what it does for checkpoints */
  constructor(shard: Shard, member: ShardCheckpoints, channel: CoordinatorChannel) {
    this.#shard = shard
    this.#member = member
    this.#channel = channel
    this.#codecs = shard.views.map(view => createRowCodec(view.value))
    shard.indexes.onWorked = () => this.#channel.post({ type: 'facts', views: this.#facts() })
    channel.listen(
      message => {
        this.#tail = this.#tail.then(() => this.#take(message))
      },
      () => this.close(),
    )
  }

  /** Resolves when either side has closed, and nothing is written any more. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  close(): void {
    this.#channel.close()
    void this.#shard.close()
    void this.#writing.then(() => this.#member.close()).finally(() => this.#closed.resolve())
  }

  async #take(message: ToShard): Promise<void> {
    if (this.#failed) return
    try {
      await this.#do(message)
    } catch (error) {
      this.#failed = true
      const known = asMainstemError(error)
      this.#shard.stopViews(known)
      this.#channel.post({ type: 'failed', error: reportOf(known) })
    }
  }

  async #do(message: ToShard): Promise<void> {
    const shard = this.#shard
    switch (message.type) {
      case 'begin':
        for (const [n, { position, error }] of message.views.entries()) {
          const view = shard.views[n]!
          view.position = position
          if (error) view.stop(errorOf(error))
        }
        shard.begin(message.start)
        this.#complete = message.start.complete
        this.#stand([])
        return
      case 'run':
        await this.#run(message.to, message.serving)
        return
      case 'read':
        this.#read(message)
        return
      case 'range':
        this.#range(message)
        return
      case 'order':
        this.#orders.set(message.id, new OrderAtCut(shard.views[message.view]!, shard.indexes, message.range))
        return
      case 'order-next':
        this.#orderNext(message.id)
        return
      case 'order-end':
        this.#orders.get(message.id)?.end()
        this.#orders.delete(message.id)
        return
      case 'letters': {
        const letters = await shard.deadLetters(shard.views[message.view]!)
        this.#channel.post({ type: 'letters', id: message.id, letters })
        return
      }
      case 'keep':
        shard.keepChanged(message.views)
        return
      case 'replace':
        this.#stand(shard.takeReplacements(message.replacements))
        return
      case 'feed':
        shard.feed(message.views)
        return
      case 'stop':
        this.#stop(message.view, errorOf(message.error))
        return
      case 'load':
        await this.#load(message.request)
        return
      case 'write':
        this.#write(message.request)
        return
      case 'reset':
        this.#member.reset()
    }
  }

  async #run(to: number, serving: boolean): Promise<void> {
    // Rows that are about to change are written first: a slow disk holds folding up, not memory.
    await this.#member.room()
    const end = await this.#shard.run(to, serving)
    const { sources } = this.#shard.complete
    const complete = sources.join() === this.#complete.join() ? undefined : sources
    this.#complete = sources
    const { nextExpiryMs } = this.#shard
    this.#channel.post({ type: 'at', end, views: this.#facts(), nextExpiryMs, complete }, buffersOf(end.changes))
  }

  #stand(changes: readonly RecordedChanges[]): void {
    const { nextExpiryMs } = this.#shard
    this.#channel.post({ type: 'stands', views: this.#facts(), nextExpiryMs, changes }, buffersOf(changes))
  }

  #facts(): readonly ViewFacts[] {
    return this.#shard.views.map(view => {
      const { size, error, position } = view
      const stopped = error && { error: reportOf(error), position }
      const [bytes, skipped, indexes] = [
        this.#shard.stateBytes(view),
        this.#shard.skipped(view),
        this.#shard.indexesOf(view),
      ]
      return { rows: size, bytes, skipped, indexes, stopped }
    })
  }

  async #load(request: LoadRequest): Promise<void> {
    try {
      this.#channel.post({ type: 'loaded', report: await this.#member.load(request), error: undefined })
    } catch (error) {
      this.#channel.post({ type: 'loaded', error: reportOf(asMainstemError(error)) })
    }
  }

  /** Begins at once: this is a cut. Its rows are written between slices, and in their pauses. */
  #write(request: PartRequest): void {
    this.#writing = this.#member.write(request).then(
      report => this.#channel.post({ type: 'part', report, error: undefined }),
      error => this.#channel.post({ type: 'part', error: reportOf(cannotCheckpoint(error)) }),
    )
  }

  #read({ id, views, keys }: RowsWanted): void {
    const writer = this.#writer
    writer.at = 0
    for (const [n, number] of views.entries()) {
      const row = this.#shard.views[number]!.getById(keys[n]!)
      writer.u8(row ? 1 : 0)
      if (row) this.#codecs[number]!.encode(writer, row)
    }
    const bytes = Uint8Array.from(writer.buffer.subarray(0, writer.at))
    this.#channel.post({ type: 'rows', id, position: this.#shard.position, bytes }, [bytes.buffer])
  }

  #range({ id, view: number, range, most }: RangeWanted): void {
    const { position } = this.#shard
    const view = this.#shard.views[number]!
    try {
      const found = this.#shard.indexes.find(view, range, most)
      if ('behind' in found) {
        this.#channel.post({ type: 'found', id, position, behind: found.behind })
        return
      }
      const writer = this.#writer
      writer.at = 0
      writeFound(view, found, this.#codecs[number]!, writer)
      const bytes = Uint8Array.from(writer.buffer.subarray(0, writer.at))
      const { rows, more } = found
      this.#channel.post({ type: 'found', id, position, found: { count: rows.length, more, bytes } }, [bytes.buffer])
    } catch (error) {
      this.#channel.post({ type: 'found', id, position, error: reportOf(asMainstemError(error)) })
    }
  }

  #orderNext(id: number): void {
    const endMs = performance.now() + ORDER_TURN_MS
    try {
      const found = this.#orders.get(id)!.next(() => performance.now() >= endMs)
      if ('behind' in found) this.#channel.post({ type: 'ordered', id, behind: found.behind })
      else this.#channel.post({ type: 'ordered', id, found }, [found.bytes.buffer as ArrayBuffer])
    } catch (error) {
      this.#channel.post({ type: 'ordered', id, error: reportOf(asMainstemError(error)) })
    }
  }

  #stop(name: string | undefined, error: MainstemError): void {
    if (name === undefined) this.#shard.stopViews(error)
    else this.#shard.views.find(view => view.name === name)?.stop(error)
  }
}

const buffersOf = (changes: readonly RecordedChanges[]): ArrayBuffer[] =>
  changes.map(({ bytes }) => bytes.buffer as ArrayBuffer)
