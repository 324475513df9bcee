// The body of an answer, piece by piece. It is read only when a piece is asked for, so whoever takes them slowly slows the other side
// down; and a connection whose other side has gone without a word is noticed while a piece is waited for.

export interface PiecesOptions {
  /** How long nothing may come while a piece is waited for, milliseconds. */
  readonly silentMsMax: number
  /** The error that is thrown where the answer is cut. */
  readonly failed: (error: unknown) => unknown
}

export async function* piecesOf(
  body: ReadableStream<Uint8Array>,
  { silentMsMax, failed }: PiecesOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read(), silentMsMax)
      if (done) return
      yield value
    }
  } catch (error) {
    throw failed(error)
  } finally {
    // What is cancelled has an end, or is cut already.
    reader.cancel().catch(() => {})
  }
}

function inTime<T>(reading: Promise<T>, ms: number): Promise<T> {
  if (ms === Number.POSITIVE_INFINITY) return reading
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing has come for ${ms} ms`)), ms)
    reading.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** The lines of a text in UTF-8, ended by LF, CR or CRLF; what stands behind the last end is no line. */
export async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const piece of pieces) {
    rest += decoder.decode(piece, { stream: true })
    // A CR at the end may be half of a CRLF.
    const held = rest.endsWith('\r') ? rest.slice(0, -1) : rest
    const parts = held.split(/\r\n|\n|\r/)
    rest = (parts.pop() ?? '') + rest.slice(held.length)
    yield* parts
  }
}
