import { ShardCheckpoints } from '../checkpoint/member.ts'
import type { PartOptions } from '../checkpoint/part.ts'
import type { Shard } from './shard.ts'

/** What a shard does for checkpoints. */
export function membershipOf(
  { views, groups, memory }: Shard,
  place: Omit<PartOptions, 'views' | 'groups' | 'take'>,
): ShardCheckpoints {
  const take = (bytes: number) => (bytes > 0 ? memory.take(bytes) : memory.release(-bytes, 0))
  return new ShardCheckpoints({ ...place, views, groups, take })
}
