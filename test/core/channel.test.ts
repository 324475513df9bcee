// What both kinds of channel promise: order, whole messages, an end that comes last and is told once.
import { MessageChannel } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { type Channel, channelPair, portChannel } from '../../core/index.ts'

type End = Channel<unknown, unknown>

const ports = (): readonly [End, End] => {
  const { port1, port2 } = new MessageChannel()
  return [portChannel(port1), portChannel(port2)]
}

/** All that an end receives until it is told of the close, and how often it was. */
function received(end: End): Promise<{ messages: unknown[]; closes: () => number }> {
  const messages: unknown[] = []
  let closes = 0
  return new Promise(resolve =>
    end.listen(
      message => messages.push(message),
      () => {
        closes++
        resolve({ messages, closes: () => closes })
      },
    ),
  )
}

const turns = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await new Promise(resolve => setImmediate(resolve))
}

describe.each([
  ['of message ports', ports],
  ['within a thread', () => channelPair()],
] as const)('a channel %s', (_, pair) => {
  it('gives messages in order, then the end, once; nothing comes after it', async () => {
    const [here, there] = pair()
    const told = received(there)
    for (let n = 0; n < 100; n++) here.post({ n })
    here.close()
    here.close()
    here.post('late')
    const { messages, closes } = await told
    there.post('later')
    await turns(5)
    expect(messages).toEqual(Array.from({ length: 100 }, (_, n) => ({ n })))
    expect(closes()).toBe(1)
  })

  it('tells who listens late what came before, the end too', async () => {
    const [here, there] = pair()
    here.post('early')
    await turns(3)
    const told = received(there)
    await turns(3)
    here.close()
    expect((await told).messages).toEqual(['early'])
    const [one, other] = pair()
    one.close()
    await turns(5)
    expect((await received(other)).messages).toEqual([])
  })

  it('copies what is posted, and hands over what is transferred', async () => {
    const [here, there] = pair()
    const told = received(there)
    const bytes = new Uint8Array([1, 2, 3])
    const given = new Uint8Array([4, 5])
    here.post({ bytes, given }, [given.buffer])
    bytes[0] = 9
    expect([bytes.length, given.length]).toEqual([3, 0])
    here.close()
    const [message] = (await told).messages as [{ bytes: Uint8Array; given: Uint8Array }]
    expect([[...message.bytes], [...message.given]]).toEqual([
      [1, 2, 3],
      [4, 5],
    ])
  })

  it('says nothing to who has closed it', async () => {
    const [here, there] = pair()
    const heard: unknown[] = []
    there.listen(
      message => heard.push(message),
      () => heard.push('closed'),
    )
    here.post('on its way')
    there.close()
    await turns(5)
    expect(heard).toEqual([])
    here.close()
  })
})
