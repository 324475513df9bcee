// The public face of the client over HTTP: `import { createClient } from 'mainstem/client'`. It loads itself and the limits of the
// API, so that a browser takes it as it is: all else is imported as types.

export type { Entry, KeyPrefix, KeyRange, Page, Rows, RowsOptions } from '../rows.ts'
export type { ClientOptions, Secret } from './calls.ts'
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
} from './client.ts'
export { ClientError } from './client-error.ts'
export { type Appended, type AppendOptions, createClient, type HttpClient, type TopicClient } from './http-client.ts'
