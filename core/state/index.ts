export { openTableStore, type TableStore } from './table-store.ts'
