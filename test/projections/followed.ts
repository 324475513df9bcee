// What one knows of a view who reads its rows at a cut and then follows its changes.
import { expect } from 'vitest'
import { type AnyRow, ByteReader, ByteWriter, createRowCodec, type RowCodec } from '../../core/index.ts'
import type { Engine, LiveView, RowChange, ViewFollowing } from '../../projections/index.ts'

const text = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString('latin1')

function encoded(codec: RowCodec, row: AnyRow): string {
  const writer = new ByteWriter()
  codec.encode(writer, row)
  return writer.copy().toString('latin1')
}

export class Followed {
  readonly #live: LiveView
  /** Rows by key, as their codec writes them. */
  readonly #rows = new Map<string, string>()
  readonly changes: RowChange[] = []
  #following: ViewFollowing | undefined
  #position = 0
  /** Why it came to an end. */
  error: unknown

  private constructor(live: LiveView) {
    this.#live = live
  }

  /** @param keys all there may be */
  static async of(engine: Engine, name: string, keys: readonly unknown[]): Promise<Followed> {
    const live = engine.views.get(name)!
    const followed = new Followed(live)
    const early: [readonly RowChange[], number][] = []
    let take = (changes: readonly RowChange[], position: number): void => void early.push([changes, position])
    followed.#following = await engine.changes.follow(name, {
      changed: (changes, position) => take(changes, position),
      lost: position => expect.unreachable(`changes up to ${position} are lost`),
      ended: error => {
        followed.error = error
      },
    })
    const { rows, position } = await engine.read(keys.map(key => ({ view: name, key })))
    expect(position).toBeGreaterThanOrEqual(followed.#following.position)
    const codec = createRowCodec(live.value)
    for (const [n, row] of rows.entries())
      if (row) followed.#rows.set(live.key.encode(keys[n]).toString('latin1'), encoded(codec, row))
    take = (changes, at) => followed.#take(changes, at, position)
    for (const [changes, at] of early) take(changes, at)
    return followed
  }

  #take(changes: readonly RowChange[], position: number, from: number): void {
    expect(position).toBeGreaterThanOrEqual(this.#position)
    for (const change of changes) {
      expect(change.position).toBeGreaterThanOrEqual(this.#position)
      expect(change.position).toBeLessThanOrEqual(position)
      if (change.position <= from) continue
      expect(text(change.before)).toBe(this.#rows.get(change.key))
      if (change.after) this.#rows.set(change.key, text(change.after)!)
      else this.#rows.delete(change.key)
      this.changes.push(change)
    }
    this.#position = position
  }

  /** By key, in no order. */
  rows(): ReadonlyMap<unknown, unknown> {
    const codec = createRowCodec(this.#live.value)
    const decoded = (row: string) => codec.decode(new ByteReader(Buffer.from(row, 'latin1')))
    return new Map(
      [...this.#rows].map(([key, row]) => [this.#live.key.decode(Buffer.from(key, 'latin1')), decoded(row)]),
    )
  }

  end(): void {
    this.#following?.end()
  }
}
