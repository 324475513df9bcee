// A merge sort in turns, so that a million numbers are put in order while others run. Stable.
const RUN = 64
const COMPARISONS_PER_TURN = 512

/** Sorts in place; yields about every half thousand comparisons. */
export function* sortInTurns(numbers: Uint32Array, compare: (a: number, b: number) => number): Generator<void> {
  for (let at = 0; at < numbers.length; at += RUN) {
    numbers.subarray(at, at + RUN).sort(compare)
    yield
  }
  let [from, to]: [Uint32Array, Uint32Array] = [numbers, new Uint32Array(numbers.length)]
  for (let run = RUN; run < numbers.length; run *= 2) {
    for (let at = 0; at < numbers.length; at += run * 2) yield* merge(from, to, at, run, compare)
    ;[from, to] = [to, from]
  }
  if (from !== numbers) numbers.set(from)
}

/** Merges the two runs that begin at `start`. */
function* merge(
  from: Uint32Array,
  to: Uint32Array,
  start: number,
  run: number,
  compare: (a: number, b: number) => number,
): Generator<void> {
  const middle = Math.min(start + run, from.length)
  const end = Math.min(start + run * 2, from.length)
  let a = start
  let b = middle
  for (let at = start; at < end; at++) {
    const first = b >= end || (a < middle && compare(from[a]!, from[b]!) <= 0)
    to[at] = from[first ? a++ : b++]!
    if (at % COMPARISONS_PER_TURN === 0) yield
  }
}
