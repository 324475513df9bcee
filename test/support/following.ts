// A log that is read by following it: appends go to the log itself, whatever is read comes from what follows it at the other end
// of a channel, as soon as that knows what the log answered. So what is tested on logs can be tested on a followed one.
import {
  type Batch,
  channelPair,
  type EmbeddedLog,
  type FileSystem,
  type FollowChannel,
  type FollowedLog,
  type FollowerChannel,
  followLog,
  isMainstemError,
  type Schedule,
} from '../../core/index.ts'
import type { Random } from './random.ts'

export async function follow(log: EmbeddedLog, fileSystem?: FileSystem, schedule?: Schedule): Promise<FollowedLog> {
  const [there, here]: readonly [FollowChannel, FollowerChannel] = channelPair(schedule)
  log.follow(there)
  return followLog(here, { fileSystem })
}

/** Messages come one after the other, with some turns of the event loop between them, as a seed has it: few, or many. */
export function randomly(random: Random): Schedule {
  const waiting: (() => void)[] = []
  const turnsMax = random.pick([1, 3, 3, 60])
  let under = false
  const wait = (turns: number): void => void setImmediate(turns === 0 ? next : () => wait(turns - 1))
  const next = () => {
    waiting.shift()?.()
    under = waiting.length > 0
    if (under) wait(random.int(turnsMax))
  }
  return deliver => {
    waiting.push(deliver)
    if (!under) wait(random.int(turnsMax))
    under = true
  }
}

/** What it reads is read by a follower, all else done by the log. */
export async function readByFollowing(
  log: EmbeddedLog,
  fileSystem?: FileSystem,
  schedule?: Schedule,
): Promise<EmbeddedLog> {
  const followed = await follow(log, fileSystem, schedule)
  const level = async <T>(done: Promise<T>): Promise<T> => {
    const answer = await done
    // Unless it is being closed.
    await followed.refresh().catch(isClosed)
    return answer
  }
  const closed = async (): Promise<void> => {
    await log.close()
    await followed.closed
  }
  return over(log, {
    read: after => followed.read(after),
    topics: () => followed.topics(),
    findTopic: name => followed.findTopic(name),
    contractChanged: contract => followed.contractChanged(contract),
    topic: async contract => {
      const topic = await log.topic(contract)
      const bound = await followed.topic(contract)
      if (bound.id !== topic.id) throw new Error(`topic ${topic.name} is ${bound.id} there and ${topic.id} here`)
      return topic
    },
    batch: () => {
      const batch: Batch = log.batch()
      return over(batch, { commit: mark => level(batch.commit(mark)) })
    },
    clean: request => level(log.clean(request)),
    sealed: () => level(log.sealed()),
    retained: () => level(log.retained()),
    close: closed,
    [Symbol.asyncDispose]: closed,
    get base() {
      return followed.base
    },
    get id() {
      return followed.id
    },
    get end() {
      return followed.end
    },
  })
}

function isClosed(error: unknown): void {
  if (!isMainstemError(error) || error.code !== 'LOG_CLOSED') throw error
}

/** An object whose members are those of another, but for some. */
function over<T extends object>(object: T, some: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      if (name in some) return Reflect.get(some, name)
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
