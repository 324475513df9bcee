// Places in a source's change log. Outside its technology a position is opaque text; inside it is `P`: an LSN, a set of
// GTIDs. Two sets may include neither each other, so nothing here asks for an order.

/** What a technology knows of its positions. */
export interface Positions<P> {
  /** Before everything. */
  readonly origin: P
  /** @throws TOKEN_MALFORMED */
  parse(text: string): P
  /** The text that the log, tokens and HTTP carry; `parse` gives the same position again. */
  format(position: P): string
  /** Whether whoever has everything up to `complete` has everything up to `wanted`. */
  includes(complete: P, wanted: P): boolean
  /** Bytes of the source's log between two positions; null where the technology cannot tell. */
  bytesBetween(from: P, to: P): number | null
}
