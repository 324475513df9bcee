// What a server is opened with. Apart from the server, so that asking for these types does not load fastify.
import type { LogTopic } from '../core/index.ts'
import type { Reads } from './reads.ts'

export interface ServerOptions {
  /** The application's name. */
  readonly application: string
  /** The read service of the running application; `close()` of the server closes it. */
  readonly reads: Reads
  /** The application's own topics by name: those that take appends. */
  readonly topics: ReadonlyMap<string, LogTopic>
  /** Default 127.0.0.1: reachable from this machine only. */
  readonly host?: string
  /** Default 7070; 0 takes any free port. */
  readonly port?: number
  /** Of the package, for OpenAPI's `info.version`. */
  readonly version?: string
  /** Where errors of our own go, with the request that met them. Default: standard error. */
  readonly onInternalError?: (error: unknown, request: string) => void
}

export interface RunningServer extends AsyncDisposable {
  /** `http://127.0.0.1:7070` */
  readonly url: string
  /** Stops accepting, ends waiting reads with SHUTTING_DOWN, finishes what is in flight; 5 seconds at most. */
  close(): Promise<void>
}
