// A process to be killed: captures the table of the life-cycle tests into the folder it is given, and says what happens.
import { z } from 'zod'
import { Captured, source } from './support.ts'

const [url = '', folder = ''] = process.argv.slice(2)
const db = source(url)
const row = z.object({ id: z.int(), note: z.string() })
const captured = new Captured(db, url, [db.table('t', { key: 'id', row })], folder)
captured.onEvent = event => process.stdout.write(`${event.event}\n`)
await captured.start()
