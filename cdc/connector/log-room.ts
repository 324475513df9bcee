// A snapshot waits between two chunks where the log is nearly full; a stream pauses by itself.
import type { Log } from '../../core/index.ts'

/** Resolves when the log has room for what a source reads, or the signal is aborted; says when it has to wait and when not any more. */
export async function untilRoom(log: Log, onPaused: (paused: boolean) => void, signal: AbortSignal): Promise<void> {
  if (log.pressure === null || signal.aborted) return
  onPaused(true)
  const ended = Promise.withResolvers<void>()
  const unwatch = log.onPressure(pressure => {
    if (pressure === null) ended.resolve()
  })
  const abort = () => ended.resolve()
  signal.addEventListener('abort', abort, { once: true })
  await ended.promise
  signal.removeEventListener('abort', abort)
  unwatch()
  if (!signal.aborted) onPaused(false)
}
