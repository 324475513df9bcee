// How far each source had been read at a position: the newest mark of each in the batches up to there. The latest batches' marks
// are kept in memory, so that a cut of live views, which stands at the log's end or not far before it, costs no reading.
import type { BlocksAfter } from './cut.ts'
import { emitterOf } from './emit-mark.ts'
import type { SourceMark } from './log.ts'
import type { AnySegment } from './recovery.ts'

/** Batches whose marks are kept: about 3 MiB, and some 30 ms of the fastest source. */
const RECENT_MARKS_MAX = 16_384

export type Marks = ReadonlyMap<string, SourceMark>

interface Noted {
  readonly end: number
  readonly mark: SourceMark
}

export class MarkHistory {
  /** In order, from `#next` on in a circle once it is full. */
  readonly #recent: Noted[] = []
  #next = 0
  /** The marks as they were before the oldest recent one, and the log's end then. */
  readonly #before: Map<string, SourceMark>
  #beforeEnd: number

  constructor(marks: Marks, end: number) {
    this.#before = new Map([...marks].filter(([source]) => emitterOf(source) === undefined))
    this.#beforeEnd = end
  }

  /** A batch that ends at a position is durable. */
  note(end: number, mark: SourceMark): void {
    if (emitterOf(mark.source) !== undefined) return
    const noted = { end, mark }
    if (this.#recent.length < RECENT_MARKS_MAX) {
      this.#recent.push(noted)
      return
    }
    const oldest = this.#recent[this.#next]!
    this.#before.set(oldest.mark.source, oldest.mark)
    this.#beforeEnd = oldest.end
    this.#recent[this.#next] = noted
    this.#next = (this.#next + 1) % RECENT_MARKS_MAX
  }

  /** Undefined where the log has to be read for it. */
  recent(position: number): Marks | undefined {
    if (position < this.#beforeEnd) return undefined
    const marks = new Map(this.#before)
    const count = this.#recent.length
    for (let n = 0; n < count; n++) {
      const { end, mark } = this.#recent[(this.#next + n) % count]!
      if (end > position) break
      marks.set(mark.source, mark)
    }
    return marks
  }
}

/** The same out of the log itself: what the end of a segment says, and the blocks after it. @throws LOG_CORRUPT */
export async function readMarks(
  segments: readonly AnySegment[],
  blocks: BlocksAfter,
  position: number,
): Promise<Marks> {
  const marks = new Map<string, SourceMark>()
  const before = segments.findLast(segment => segment.last <= position && hasEnd(segment))
  for (const mark of before ? await marksAtEnd(before) : []) marks.set(mark.source, mark)
  for await (const { end, last, mark } of blocks(before?.last ?? 0)) {
    if (end > position) break
    if (last && mark) marks.set(mark.source, mark)
  }
  for (const source of [...marks.keys()]) if (emitterOf(source) !== undefined) marks.delete(source)
  return marks
}

const hasEnd = (segment: AnySegment): boolean => 'footer' in segment || segment.end !== undefined

const marksAtEnd = async (segment: AnySegment): Promise<Iterable<SourceMark>> =>
  'footer' in segment ? (await segment.footer()).marks : (segment.end?.marks.values() ?? [])
