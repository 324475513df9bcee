// A process to be killed: captures the shared tables of a database, and an outbox whose rows go, into the folder it is given, and says what happens.
import { databaseNamed } from './databases.ts'
import { orders } from './outboxes.ts'
import { capture } from './tables.ts'

const [name = '', url = '', folder = ''] = process.argv.slice(2)
const captured = capture(databaseNamed(name), url, folder, db => [orders(db, { keep: false })])
captured.onEvent = event => process.stdout.write(`${event.event}\n`)
await captured.start()
