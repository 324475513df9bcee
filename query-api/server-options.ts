// What a server is opened with. Apart from the server, so that asking for these types does not load fastify.
import type { Commands, Log, LogTopic, Streams } from '../core/index.ts'
import type { Reads } from './reads.ts'
import type { AccessOptions } from './security/access.ts'
import type { TlsOptions } from './security/tls.ts'
import type { ServerLog } from './server-log.ts'

/** How an application is served: where, to whom, and how much of it. */
export interface ServerSettings {
  /** Default 127.0.0.1: reachable from this machine only. Elsewhere `access` is needed, or `allowAnonymous`. */
  readonly host?: string
  /** Default 7070; 0 takes any free port. */
  readonly port?: number
  /** How clients are known, and so what each may do. Default: nobody is asked, and everybody may do all. */
  readonly access?: Omit<AccessOptions, 'onKeysFailed'>
  /** Listen on an address that other machines reach although nobody is asked. Not where a view has a policy. Default false. */
  readonly allowAnonymous?: boolean
  /** Serve https. Both files are read again when they change. Default: http. */
  readonly tls?: TlsOptions
  /** Origins of web pages that may call, as `https://app.example.com`. Default none. */
  readonly corsOrigins?: readonly string[]
  /** Bytes of a request's body. Default 1 MiB. */
  readonly bodyBytesMax?: number
  /** Connections at a time; further ones are closed at once. Default 20,000. */
  readonly connectionsMax?: number
  /** Requests that a client may send in a second: a key or token, or an address where nobody is asked. Default: as many as it likes. */
  readonly requestsPerSecondMax?: number
  /** Milliseconds that a client has for sending a request's head. Default 20,000. */
  readonly headersTimeoutMs?: number
  /** Milliseconds that it has for sending all of a request. Default 60,000. */
  readonly requestTimeoutMs?: number
  /** Milliseconds for which it may take nothing of its answer; then its connection is cut. Default 60,000. */
  readonly stallTimeoutMs?: number
  /** Not ready while a view is older than so many milliseconds, or nobody knows how old. Default: ready, however old. */
  readonly readyLagMs?: number
  /** Milliseconds for which a server that closes is not ready and still answers, so that nobody is sent to it any more. Default 0. */
  readonly drainMs?: number
  /** Make spans by OpenTelemetry's API. Default false. */
  readonly tracing?: boolean
  /** Where it tells of errors of its own, and of requests that it did not admit. Default: errors to standard error. */
  readonly log?: ServerLog
}

export interface ServerOptions extends ServerSettings {
  /** The application's name. */
  readonly application: string
  /** The read service of the running application; `close()` of the server closes it. */
  readonly reads: Reads<Log & Streams>
  /** The application's own topics by name: those that take appends. */
  readonly topics: ReadonlyMap<string, LogTopic>
  /** What takes its commands. Default: it takes none. */
  readonly commands?: Commands
  /** Of the package, for OpenAPI's `info.version`. */
  readonly version?: string
}

export interface RunningServer extends AsyncDisposable {
  /** `http://127.0.0.1:7070` */
  readonly url: string
  /**
   * Is not ready from now on; after `drainMs` it stops accepting, ends waiting reads with SHUTTING_DOWN, and finishes what is in flight,
   * in 5 seconds at most.
   */
  close(): Promise<void>
}
