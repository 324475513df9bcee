export { openTableStore, readStoreMeta, type TableStore } from './table-store.ts'
