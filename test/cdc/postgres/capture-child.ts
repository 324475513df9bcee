// A process to be killed: captures the tables of the kill test into the folder it is given, and says what happens.
import { kill } from './kill-tables.ts'

const [url = '', folder = ''] = process.argv.slice(2)
const captured = kill.captured(url, folder)
captured.onEvent = event => process.stdout.write(`${event.event}\n`)
await captured.start()
