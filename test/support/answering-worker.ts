// A thread that answers at once, and says so by a file at the job's `to`.
import { writeFileSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { JobRequest } from '../../core/log/background.ts'

parentPort?.on('message', ({ id, input }: JobRequest<'seal'>) => {
  parentPort?.postMessage({ id, output: undefined })
  writeFileSync(input.to, '')
})
