// What a client has written, so that its reads wait for it without being told: the newest token of an append or a command.

export class OwnWrites {
  #token: string | undefined

  /** Appends may be answered in another order than that in which they were made. */
  note(token: string): void {
    if (this.#token === undefined || isLater(token, this.#token)) this.#token = token
  }

  /** What a read waits for. */
  tokens(after: string | readonly string[] | undefined): readonly string[] {
    const given = after === undefined ? [] : typeof after === 'string' ? [after] : after
    return this.#token === undefined ? given : [...given, this.#token]
  }

  /** Forgets the token where it is of a log that is no more. True where there was one. */
  forget(): boolean {
    const known = this.#token !== undefined
    this.#token = undefined
    return known
  }
}

/** True, too, for a token of another log: the data folder has been begun anew. */
function isLater(token: string, than: string): boolean {
  const [log, position] = parts(token)
  const [otherLog, otherPosition] = parts(than)
  return log !== otherLog || position > otherPosition
}

function parts(token: string): [string, number] {
  const dot = token.lastIndexOf('.')
  return [token.slice(0, dot), Number(token.slice(dot + 1))]
}
