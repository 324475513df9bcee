// The public face of `mainstem/mariadb`. Importing it loads no driver: connections load theirs when they open.
export type { SourceTable } from '../../core/index.ts'
export { type MariadbSource, mariadb, mysql } from './definition.ts'
export { introspectMariadb } from './introspect.ts'
export type { MariadbOptions } from './setup.ts'
export { type QueryClient, writeToken } from './token.ts'
