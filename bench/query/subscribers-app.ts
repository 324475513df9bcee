// The application that is subscribed to: a meter counts its readings and has the newest.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'

export const readings = topic('readings', {
  key: 'meter',
  value: z.object({ meter: z.int(), watts: z.int(), atMs: z.number() }),
})

export const meters = projection('meters', {
  key: z.int(),
  state: z.object({ count: z.int(), watts: z.int(), atMs: z.number() }),
}).on(readings, 'meter', (meter, { watts, atMs }) => {
  meter.count++
  meter.watts = watts
  meter.atMs = atMs
})

export default application('subscribers', { views: [meters] })
