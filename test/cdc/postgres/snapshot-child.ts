// A process to be killed: captures some tables into the folder it is given, says what happens, and begins a snapshot when it streams.
import { beside } from './snapshot-tables.ts'

const [url = '', folder = '', names = '', snapshot = ''] = process.argv.slice(2)
const captured = beside.captured(url, names.split(','), folder)
captured.onEvent = event => {
  process.stdout.write(`${event.event}\n`)
  if (event.event === 'streaming' && snapshot)
    setImmediate(() => void captured.connector.snapshot({ do: 'start' }).catch(() => {}))
}
await captured.start()
