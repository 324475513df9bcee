// One measurement in a process of its own: prints what it took.
import { measure } from './measure.ts'
import type { Measurement } from './ours.ts'

process.stdout.write(`${JSON.stringify(await measure(JSON.parse(process.argv[2] ?? '') as Measurement))}\n`)
