// A thread that starts, or does not, and does what it is told over its channel, in all the ways in which a thread can end.
import { type MessagePort, workerData } from 'node:worker_threads'
import { type Channel, fail, portChannel } from '../../core/index.ts'
import { announceFailure, announceStart } from '../../projections/shards/thread.ts'

export type Told = 'echo' | 'throw' | 'reject' | 'exhaust' | 'exit' | 'leave' | 'spin'

const { port, start } = workerData as { port: MessagePort; start: 'well' | 'badly' | 'not' }
const channel: Channel<string, Told> = portChannel(port)

const work: { [K in Told]: () => void } = {
  echo: () => channel.post('echo'),
  throw: () => {
    throw new Error('thrown')
  },
  reject: () => void Promise.reject(fail('STATE_INVALID', 'rejected')),
  exhaust: () => {
    const all: number[][] = []
    for (;;) all.push(new Array(100_000).fill(all.length))
  },
  exit: () => process.exit(3),
  leave: () => channel.close(),
  spin: () => {
    for (;;);
  },
}

if (start === 'not') process.exit(4)
else if (start === 'badly') {
  announceFailure(fail('DEFINITION_INVALID', 'not so', { hint: 'do it well' }))
  channel.close()
} else {
  channel.listen(told => work[told]())
  announceStart()
}
