// A process to be killed: captures the shared tables of a database into the folder it is given, and says what happens.
import { databaseNamed } from './databases.ts'
import { capture } from './tables.ts'

const [name = '', url = '', folder = ''] = process.argv.slice(2)
const captured = capture(databaseNamed(name), url, folder)
captured.onEvent = event => process.stdout.write(`${event.event}\n`)
await captured.start()
