// Server-sent events out of the bytes of an answer, as the HTML standard reads them.

export interface ServerEvent {
  readonly event: string
  readonly data: string
  /** The newest id that the stream has said, of this event or one before. */
  readonly id: string | undefined
}

/** @param onBytes is told whenever something comes, comments too: the other side is there */
export async function* serverEvents(
  body: ReadableStream<Uint8Array>,
  onBytes: () => void,
): AsyncGenerator<ServerEvent, void, undefined> {
  let event = ''
  let data: string[] = []
  let id: string | undefined
  for await (const line of lines(body, onBytes)) {
    if (line === '') {
      if (data.length > 0) yield { event: event || 'message', data: data.join('\n'), id }
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
  }
}

async function* lines(body: ReadableStream<Uint8Array>, onBytes: () => void): AsyncGenerator<string, void, undefined> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      onBytes()
      rest += decoder.decode(value, { stream: true })
      // A CR at the end may be half of a CRLF.
      const held = rest.endsWith('\r') ? rest.slice(0, -1) : rest
      const parts = held.split(/\r\n|\n|\r/)
      rest = (parts.pop() ?? '') + rest.slice(held.length)
      yield* parts
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
