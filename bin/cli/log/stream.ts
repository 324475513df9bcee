// Text in and out: files that may be compressed, standard input and output, and an end at Ctrl-C that leaves nothing half.

import { once } from 'node:events'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip, createZstdCompress, createZstdDecompress } from 'node:zlib'
import { fail, textOf } from '../../../core/index.ts'

/** Aborted by the first Ctrl-C or SIGTERM, until it is disposed of. */
export class Interruption implements Disposable {
  readonly #controller = new AbortController()
  readonly #stop = () => this.#controller.abort(fail('SHUTTING_DOWN', 'interrupted'))

  constructor() {
    process.once('SIGINT', this.#stop)
    process.once('SIGTERM', this.#stop)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#stop)
    process.off('SIGTERM', this.#stop)
  }
}

/** Writes to standard output, no faster than it is read. */
export async function writeOut(pieces: AsyncIterable<string>): Promise<void> {
  for await (const piece of pieces) if (!process.stdout.write(piece)) await once(process.stdout, 'drain')
}

/** Writes a new file, compressed where its name says so; it has its name when it is whole. */
export async function writeFile(file: string, pieces: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  if (existsSync(file)) throw fail('REQUEST_INVALID', `${file} is there already`, { hint: 'give another --out' })
  const temporary = `${file}.tmp`
  const packer = compression(file, createGzip, createZstdCompress)
  try {
    const out = createWriteStream(temporary, { flush: true })
    await (packer ? pipeline(pieces, packer, out, { signal }) : pipeline(pieces, out, { signal }))
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw readable(signal.aborted ? signal.reason : error, file)
  }
}

const compression = (file: string, gzip: () => Duplex, zstd: () => Duplex): Duplex | undefined =>
  file.endsWith('.gz') ? gzip() : file.endsWith('.zst') ? zstd() : undefined

/** The lines of a file, `-` being standard input. @throws REQUEST_INVALID where it cannot be read */
export async function* readLines(file: string, signal: AbortSignal): AsyncGenerator<string> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const packer = compression(file, createGunzip, createZstdDecompress)
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  // The pipeline ends with the reading of `source`, which says what went wrong.
  const source = packer ? input.pipe(packer) : input
  if (packer) input.on('error', (error: Error) => packer.destroy(error))
  const stop = () => source.destroy(signal.reason as Error)
  signal.addEventListener('abort', stop)
  try {
    for await (const chunk of source) {
      const text = rest + decoder.decode(chunk as Buffer, { stream: true })
      const lines = text.split('\n')
      rest = lines.pop() ?? ''
      yield* lines
      signal.throwIfAborted()
    }
    rest += decoder.decode()
    if (rest !== '') yield rest
  } catch (error) {
    throw readable(signal.aborted ? signal.reason : error, file)
  } finally {
    signal.removeEventListener('abort', stop)
    input.destroy()
  }
}

/** What Node says of a file, as one of our errors. */
function readable(error: unknown, file: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || error.name === 'MainstemError') return error
  return fail('REQUEST_INVALID', `cannot use ${file === '-' ? 'standard input' : file}`, {
    detail: textOf(error),
    cause: error,
  })
}
