export { type FrozenTables, openTableStore, readStoreMeta, type StoredEntry, type TableStore } from './table-store.ts'
