// Server-sent events out of the bytes of an answer, as the HTML standard reads them.
import { linesOf } from './pieces.ts'

export interface ServerEvent {
  readonly event: string
  readonly data: string
  /** The newest id that the stream has said, of this event or one before. */
  readonly id: string | undefined
  /** After how many milliseconds to connect again, as the stream has said last. */
  readonly retryMs: number | undefined
}

export async function* serverEvents(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent, void, undefined> {
  let event = ''
  let data: string[] = []
  let id: string | undefined
  let retryMs: number | undefined
  for await (const line of linesOf(pieces)) {
    if (line === '') {
      if (data.length > 0) yield { event: event || 'message', data: data.join('\n'), id, retryMs }
      event = ''
      data = []
      continue
    }
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') event = value
    else if (name === 'data') data.push(value)
    else if (name === 'id' && !value.includes('\0')) id = value
    else if (name === 'retry' && /^\d{1,9}$/.test(value)) retryMs = Number(value)
  }
}
