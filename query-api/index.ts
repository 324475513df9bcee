// The public face of query-api: reads over HTTP and in this process. Fastify is loaded by `openServer` only, so that an
// application without HTTP never pays for it.
import type { RunningServer, ServerOptions } from './server-options.ts'

export type { ActionsWire, ActionWire } from './actions.ts'
export { type AppendResult, Appends } from './append.ts'
export type { AtOption } from './at.ts'
export type { LogWire, ViewDetail, ViewSummary } from './catalog.ts'
export { type Parameters, urlOf } from './client/calls.ts'
export type {
  Answer,
  Change,
  Client,
  CommandOptions,
  LineageQuery,
  Outcome,
  ReadOptions,
  SendCommand,
  SubscribeOptions,
  ViewClient,
} from './client/client.ts'
export { errorOfAnswer } from './client/client-error.ts'
export { type ServerEvent, serverEvents } from './client/event-stream.ts'
export type { DeadLettersWire, DeadLetterWire, RedrivenWire } from './dead-letters.ts'
export { EXPORT_FORMATS, type ExportFormat, exportText } from './export.ts'
export { RETAINED_APPENDS } from './keyed-appends.ts'
export { HOST_DEFAULT, IDEMPOTENCY_KEY_KEPT_MS, LOG_PAGE_MAX, PORT_DEFAULT } from './limits.ts'
export type { LineageEntry, LineageStepWire, LineageWire } from './lineage.ts'
export { createLocalClient } from './local-client.ts'
export type { CleanWire } from './log-clean.ts'
export { type LogRecordWire, recordJson } from './log-page.ts'
export type { ParkedWire, RetriedWire } from './parked.ts'
export { type Problem, problemOf } from './problem.ts'
export type { SourceWire } from './rates.ts'
export { openReads, Reads, type ReadsOptions } from './reads.ts'
export type { ReplayWire } from './replay-wire.ts'
export type { Entry, KeyPrefix, KeyRange, Page, Rows, RowsOptions } from './rows.ts'
export type { SavepointsWire, SavepointWire } from './savepoints.ts'
export {
  createKey,
  type KeyRequest,
  listKeys,
  revokeKey,
  type StoredKey,
} from './security/api-keys.ts'
export type { JwtOptions } from './security/jwt.ts'
export { Viewer } from './security/viewer.ts'
export type { ServerLog } from './server-log.ts'
export type { RunningServer, ServerOptions, ServerSettings } from './server-options.ts'
export type { SubscriptionLimits } from './subscriptions/subscriptions.ts'
export { formatLogToken, formatSourceToken, parseToken, type Token } from './token.ts'
export { isTraced } from './tracing.ts'
export type { VerifiedViewWire, VerifyWire } from './verify-wire.ts'

/**
 * Serves a running application over HTTP.
 * @throws ADDRESS_IN_USE, ADDRESS_INVALID, ACCESS_UNGUARDED, ACCESS_INVALID, TLS_INVALID
 */
export async function openServer(options: ServerOptions): Promise<RunningServer> {
  const server = await import('./server.ts')
  return server.openServer(options)
}
