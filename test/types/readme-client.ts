// The client of the README, compiled: its sample stands beside it under another path.
import { createClient } from 'mainstem/client'
import type * as hello from '../../samples/hello/hello.ts'

const client = createClient<typeof hello>('http://127.0.0.1:7070')
await client.topics.purchases.append({ customer: 'ada', cents: 1250 }, { idempotencyKey: 'order 7' }) // never twice
const { position } = await client.views.spending.get('ada') // waits for what this client has appended
for await (const { key, value } of client.views.spending.range({ prefix: 'a' }, { order: 'desc' }))
  console.log(key, value.cents)
for await (const change of client.views.spending.subscribe({ keys: ['ada'] })) // through cuts and restarts
  if (change.type === 'row') console.log(change.value.count, 'at', change.position, 'since', position)
