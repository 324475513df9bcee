// A thread behind a channel: each way in which it can end is told as a typed error, and before the channel closes.
import { MessageChannel } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { type Channel, type MainstemError, portChannel } from '../../../core/index.ts'
import { loadingOptions, Thread } from '../../../projections/shards/thread.ts'
import type { Told } from '../../support/odd-thread.ts'

const FILE = new URL('../../support/odd-thread.ts', import.meta.url)
const threads: Thread<Told, string>[] = []
afterEach(() => Promise.all(threads.splice(0).map(thread => thread.terminate())))

/** A thread, and all that is received of it; `closed` resolves when its channel has closed. */
function begin(start: 'well' | 'badly' | 'not' = 'well') {
  const { port1, port2 } = new MessageChannel()
  const channel: Channel<unknown, string> = portChannel(port1)
  const failed = ({ code, message, detail }: MainstemError) => `${code}: ${message} (${detail})`
  const options = { file: FILE, name: 'shard 7', data: { port: port2, start }, transfer: [port2], channel, failed }
  const thread = new Thread<Told, string>({ ...options, resourceLimits: { maxOldGenerationSizeMb: 40 } })
  threads.push(thread)
  const received: string[] = []
  const closed = new Promise<void>(resolve => thread.channel.listen(message => received.push(message), resolve))
  return { thread, received, closed }
}

describe('a thread behind a channel', { timeout: 60_000 }, () => {
  it('starts, answers, and ends when it is told to', async () => {
    const { thread, received, closed } = begin()
    await thread.started
    thread.channel.post('echo')
    thread.channel.post('leave')
    await closed
    await thread.ended
    expect(received[0]).toBe('echo')
  })

  it.each([
    ['throw', /^SHARD_FAILED: shard 7 has failed \(.*thrown/],
    ['reject', /^STATE_INVALID: rejected/],
    ['exhaust', /^SHARD_FAILED: shard 7 ran out of memory/],
    ['exit', /^SHARD_FAILED: shard 7 has ended \(code 3\)/],
  ] as const)('that ends by itself (%s) says why, then that it has ended', async (told, why) => {
    const { thread, received, closed } = begin()
    await thread.started
    thread.channel.post(told)
    await closed
    expect(received).toEqual([expect.stringMatching(why)])
  })

  it('that cannot start rejects with the reason', async () => {
    const hint = 'do it well'
    await expect(begin('badly').thread.started).rejects.toMatchObject({ code: 'DEFINITION_INVALID', hint })
    await expect(begin('not').thread.started).rejects.toMatchObject({ code: 'SHARD_FAILED', detail: 'code 4' })
  })

  it('that never comes to an end is terminated, which is no failure', async () => {
    const { thread, received, closed } = begin()
    await thread.started
    thread.channel.post('spin')
    await thread.terminate()
    await closed
    expect(received).toEqual([])
  })
})

describe('the options that threads take over', () => {
  it('are those by which modules are loaded', () => {
    const options = [
      '--import',
      'tsx',
      '--input-type=module',
      '--require=a',
      '-e',
      'x',
      '-C',
      'dev',
      '--no-warnings',
      '--inspect',
    ]
    expect(loadingOptions(options)).toEqual(['--import', 'tsx', '--require=a', '-C', 'dev', '--no-warnings'])
  })
})
