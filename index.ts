// The package's public face: `import { … } from 'mainstem'`. Databases stand behind subpaths of their own.
export { type ApplicationEvent, type OpenOptions, openApplication, type Running } from './bin/open-application.ts'
export {
  type AnyTable,
  type AnyTopic,
  type Change,
  type Draft,
  type ErrorCode,
  env,
  isMainstemError,
  MainstemError,
  minorUnits,
  type Position,
  type Row,
  type Setting,
  type Sync,
  type Table,
  type Topic,
  topic,
  type Wire,
} from './core/index.ts'
export {
  type Application,
  application,
  type Context,
  count,
  countBy,
  type Handlers,
  last,
  max,
  min,
  type Projection,
  type ProjectionSpec,
  projection,
  sum,
  sumBy,
  type View,
} from './projections/index.ts'
export type { Answer, Client } from './query-api/index.ts'
