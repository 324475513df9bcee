// Iterations that end at once when they are left, also while they wait for what comes next.

/** @param iterate ends, with its reason, when the signal says so @param signal of whoever iterates */
export function leavable<T>(
  iterate: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
  signal: AbortSignal | undefined,
): AsyncIterableIterator<T, void, undefined> {
  const left = new AbortController()
  const values = iterate(signal ? AbortSignal.any([signal, left.signal]) : left.signal)
  const done = { done: true, value: undefined } as const
  return {
    [Symbol.asyncIterator]() {
      return this
    },
    async next() {
      try {
        return await values.next()
      } catch (error) {
        if (left.signal.aborted) return done
        throw error
      }
    },
    async return() {
      left.abort()
      await values.return()
      return done
    },
  }
}
