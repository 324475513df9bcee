// The public face of `mainstem/postgres`. Importing it loads no driver: connections load theirs when they open.
export type { SourceTable } from '../../core/index.ts'
export {
  type ContractSource,
  contractSource,
  type IntrospectedColumn,
  type IntrospectedTable,
  type Introspection,
  variableName,
} from '../connector/contract-source.ts'
export type { TlsMode, TlsOptions } from '../connector/tls.ts'
export { type PostgresSource, postgres } from './definition.ts'
export { introspect } from './introspect.ts'
export { formatLsn, parseLsn, type QueryClient, writeToken } from './lsn.ts'
export type { PostgresOptions } from './setup.ts'
