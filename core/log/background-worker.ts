// The thread of the log's jobs: does what it is sent, over Node's own files, and answers with what came of it.
import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { failureOf, type JobAnswer, type JobRequest } from './background.ts'
import { nodeFileSystem } from './file-system.ts'
import { type JobName, jobs } from './jobs.ts'

const NICENESS = 10

/** Linux has priorities of threads: where cores are few, who appends and reads goes first. Elsewhere it would be the process's. */
if (process.platform === 'linux') setPriority(NICENESS)

/** Never aborted: whoever breaks off the work ends the thread. */
const { signal } = new AbortController()

async function answer<K extends JobName>({ id, job, input }: JobRequest<K>): Promise<JobAnswer> {
  try {
    return { id, output: await jobs[job](nodeFileSystem, input, signal) }
  } catch (error) {
    return { id, failed: failureOf(error) }
  }
}

parentPort?.on('message', async (request: JobRequest) => {
  parentPort?.postMessage(await answer(request))
})
