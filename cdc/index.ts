// The public face of cdc: the sources that change data capture knows.
export * from './postgres/index.ts'
