// Keys belong to 128 groups by their hashes. A shard owns a range of groups: all rows of a key, of every view, are in one shard.

export const KEY_GROUPS = 128
/** The group of a hash: its highest bits. */
export const GROUP_SHIFT = 25

/** From one group on, up to another and without it. */
export interface KeyGroups {
  readonly from: number
  readonly to: number
}

export const ALL_GROUPS: KeyGroups = { from: 0, to: KEY_GROUPS }

/** What one of several shards owns. */
export const groupsOf = (shard: number, shards: number): KeyGroups => ({
  from: Math.floor((KEY_GROUPS * shard) / shards),
  to: Math.floor((KEY_GROUPS * (shard + 1)) / shards),
})

/** Group → which of several shards owns it. */
export function ownersOf(shards: number): Uint8Array {
  const owners = new Uint8Array(KEY_GROUPS)
  for (let shard = 0; shard < shards; shard++) {
    const { from, to } = groupsOf(shard, shards)
    owners.fill(shard, from, to)
  }
  return owners
}
