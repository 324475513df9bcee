// The public face of cdc: the sources that change data capture knows.

export { introspectMariadb, type MariadbOptions, type MariadbSource, mariadb, mysql } from './mariadb/index.ts'
export * from './postgres/index.ts'
