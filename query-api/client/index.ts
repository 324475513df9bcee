// The public face of the client over HTTP: `import { createClient } from 'mainstem/client'`. It loads nothing but itself, so that
// a browser takes it as it is: all else is imported as types.
export type { ClientOptions, Secret } from './calls.ts'
export type { Answer, Client, LineageQuery, ReadOptions, ViewClient } from './client.ts'
export { ClientError } from './client-error.ts'
export { type Appended, type AppendOptions, createClient, type HttpClient, type TopicClient } from './http-client.ts'
