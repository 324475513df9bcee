// What a shard behind a channel does for checkpoints, asked of it: it answers in the order in which it was asked.
import { errorOf, type MainstemError } from '../../core/index.ts'
import type { CheckpointMember, LoadReport, LoadRequest } from '../checkpoint/member.ts'
import type { PartReport, PartRequest } from '../checkpoint/part.ts'
import type { KeyGroups } from '../state/key-groups.ts'
import type { FromMember, ShardChannel } from './messages.ts'

export class RemoteMember implements CheckpointMember {
  readonly groups: KeyGroups
  readonly #channel: ShardChannel
  #loading: PromiseWithResolvers<LoadReport> | undefined
  #writing: PromiseWithResolvers<PartReport> | undefined
  #ended: MainstemError | undefined

  constructor(groups: KeyGroups, channel: ShardChannel) {
    this.groups = groups
    this.#channel = channel
  }

  load(request: LoadRequest): Promise<LoadReport> {
    if (this.#ended) return Promise.reject(this.#ended)
    this.#loading = Promise.withResolvers()
    this.#channel.post({ type: 'load', request })
    return this.#loading.promise
  }

  write(request: PartRequest): Promise<PartReport> {
    if (this.#ended) return Promise.reject(this.#ended)
    this.#writing = Promise.withResolvers()
    this.#channel.post({ type: 'write', request })
    return this.#writing.promise
  }

  reset(): void {
    this.#channel.post({ type: 'reset' })
  }

  /** Takes what the shard answers. */
  hear(message: FromMember): void {
    if (message.type === 'loaded') {
      if (message.error) this.#loading?.reject(errorOf(message.error))
      else this.#loading?.resolve(message.report)
    } else if (message.error) this.#writing?.reject(errorOf(message.error))
    else this.#writing?.resolve(message.report)
  }

  /** The shard answers no more. */
  end(error: MainstemError): void {
    this.#ended ??= error
    this.#loading?.reject(error)
    this.#writing?.reject(error)
  }
}
