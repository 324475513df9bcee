// ERR packets as errors like those of mysql2, so that one place knows what their numbers mean.
import { errorIn } from './packets.ts'

export class ServerFailure extends Error {
  readonly errno: number

  constructor(errno: number, text: string) {
    super(text)
    this.name = 'ServerFailure'
    this.errno = errno
  }
}

/** @throws ServerFailure where the payload is an ERR packet */
export function throwServerError(bytes: Buffer, start: number, end: number): void {
  const error = errorIn(bytes, start, end)
  if (error) throw new ServerFailure(error.code, error.text)
}
