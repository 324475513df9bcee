// The works of `bench replay`, by the names that its children are told.
import { eightViewsWork } from './eight-views.ts'
import { manyOrdersWork, ordersWork, stagesWork, uuidWork } from './orders.ts'
import { unionWork } from './union.ts'
import type { Work } from './work.ts'

export const WORKS = {
  orders: ordersWork,
  'many-orders': manyOrdersWork,
  uuid: uuidWork,
  union: unionWork,
  stages: stagesWork,
  'eight-views': eightViewsWork,
} as const satisfies Readonly<Record<string, Work>>

export type WorkName = keyof typeof WORKS
