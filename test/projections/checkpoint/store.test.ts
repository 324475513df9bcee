import { describe, expect, it } from 'vitest'
import { ByteReader } from '../../../core/index.ts'
import { RowLookup } from '../../../projections/checkpoint/lookup.ts'
import type { RowsHash } from '../../../projections/checkpoint/row-hash.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'
import { FOLDER, KEYS, LOG_ID, type Order, randomOrder, Shards, type State } from './shards.ts'

const orders = (random: Random, most = 5): Order[] =>
  Array.from({ length: 1 + random.int(most) }, () => randomOrder(random))

/** Folds and writes checkpoints, until the disk dies. @param states gets the state at each position @param committed of checkpoints */
async function history(
  disk: SimulatedDisk,
  seed: number,
  count: number,
  states: Map<number, State>,
  committed: number[] = [],
): Promise<void> {
  const random = new Random(seed)
  const shards = await Shards.open(disk, count)
  const fold = () => {
    shards.fold(orders(random))
    states.set(shards.position, shards.state())
  }
  for (let n = 0; n < 6; n++) {
    for (let turns = random.int(4); turns >= 0; turns--) fold()
    // Whatever is folded while it is written is not in it.
    committed.push((await shards.checkpoint(() => random.int(2) === 0 && fold())).position)
  }
}

const nothing: State = { customers: {}, names: {} }

describe('checkpoints', () => {
  it.each([1, 2, 3])('are whole after a crash before any operation of the disk (seed %i)', async seed => {
    const whole = new SimulatedDisk()
    await history(whole, seed, 1 + (seed % 2), new Map())
    const tear = new Random(seed)
    for (let killAt = 0; killAt < whole.operations; killAt++) {
      const disk = new SimulatedDisk()
      disk.killAt = killAt
      const states = new Map<number, State>([[0, nothing]])
      const committed: number[] = []
      await Promise.race([history(disk, seed, 1 + (seed % 2), states, committed), disk.died])
      const after = disk.crash(killAt % 2 === 0 ? tear : undefined)
      const again = await Shards.open(after, 1 + (seed % 2))
      const what = `seed ${seed}, killed at ${killAt}: ${disk.trace.at(-1)}`
      const { latest } = again.store
      if (latest) await again.load(latest)
      expect(again.position, what).toBeGreaterThanOrEqual(committed.at(-1) ?? 0)
      expect(again.state(), what).toEqual(states.get(again.position))
      // It goes on from there, with the same file or another one.
      if (latest && killAt % 3 !== 0) again.resume()
      const random = new Random(seed + killAt)
      again.fold(orders(random))
      const before = again.state()
      await again.checkpoint(() => again.fold(orders(random)))
      const third = await Shards.open(after.crash(), 1 + (seed % 2))
      await third.load(third.store.latest!)
      expect(third.state(), what).toEqual(before)
    }
  })

  it('are kept, so many as are wanted, and each can be restored; one of them in other files than the newest', async () => {
    const disk = new SimulatedDisk()
    const states = new Map<number, State>()
    const random = new Random(3)
    const shards = await Shards.open(disk, 2, 4)
    const chains: number[][] = []
    for (let n = 0; n < 24; n++) {
      shards.fold(orders(random))
      states.set(shards.position, shards.state())
      await shards.checkpoint()
      const { kept } = shards.store
      expect(kept.length).toBe(Math.min(n + 1, 4))
      chains.push([...new Set(kept.map(({ chain }) => chain.id))])
      const named = new Set(
        kept.flatMap(({ views }) => Object.values(views).flatMap(({ files }) => files.map(f => f.name))),
      )
      expect(disk.paths).toEqual(
        [...named]
          .map(name => `${FOLDER}/${name}`)
          .concat(`${FOLDER}/checkpoints.json`)
          .sort(),
      )
      for (const checkpoint of kept) {
        const other = await Shards.open(disk.copy(), 2)
        await other.load(checkpoint)
        expect(other.state()).toEqual(states.get(checkpoint.position))
      }
    }
    expect(new Set(chains.flat()).size).toBeGreaterThan(3)
    for (const ids of chains.slice(15)) expect(ids.length).toBe(2)
  })

  it.each([1, 2])(
    'with a damaged byte anywhere lead to an older one, or to none, never to wrong rows (seed %i)',
    async seed => {
      const disk = new SimulatedDisk()
      const states = new Map<number, State>([[0, nothing]])
      await history(disk, seed, 2, states)
      const random = new Random(seed)
      const found = new Map<number, number>()
      for (let n = 0; n < 80; n++) {
        const hurt = disk.copy()
        const path = random.pick(hurt.paths)
        const bytes = Buffer.from(hurt.bytes(path))
        if (random.int(5) === 0) hurt.plant(path, bytes.subarray(0, random.int(bytes.length)))
        else {
          bytes[random.int(bytes.length)]! ^= 1 << random.int(8)
          hurt.plant(path, bytes)
        }
        const shards = await Shards.open(hurt, 1 + random.int(2))
        const position = await shards.loadNewest()
        found.set(position, (found.get(position) ?? 0) + 1)
        expect(shards.state(), `seed ${seed}, ${path}`).toEqual(states.get(position))
        if (position === 0 && path.endsWith('.json')) expect(shards.store.damage?.code).toBe('CHECKPOINT_CORRUPT')
        if (position === 0) expect(shards.store.fault).toBe('its checkpoint is damaged')
      }
      // The newest, where what is damaged belongs to another; an older one; none.
      expect(found.size).toBeGreaterThan(2)
    },
  )

  it('are loaded by more and by fewer shards, whose hashes add up to the same', async () => {
    const disk = new SimulatedDisk()
    const random = new Random(9)
    const shards = await Shards.open(disk, 3)
    for (let n = 0; n < 20; n++) {
      shards.fold(orders(random, 20))
      if (n % 4 === 3) await shards.checkpoint()
    }
    for (const count of [1, 2, 3, 5, 128]) {
      const others = await Shards.open(disk.copy(), count)
      await others.load(others.store.latest!)
      expect(others.state()).toEqual(shards.state())
      await others.checkpoint()
      const hashes = ({ views }: NonNullable<typeof others.store.latest>): Record<string, RowsHash> =>
        Object.fromEntries(Object.entries(views).map(([name, { rows, hash }]) => [name, { rows, hash }]))
      expect(hashes(others.store.latest!)).toEqual(hashes(shards.store.latest!))
    }
  })

  it('have a hash of their rows that tells one changed field, and not the order in which rows came', async () => {
    const random = new Random(4)
    const given = Array.from({ length: 200 }, (_, n) => ({ ...randomOrder(random), customer: n }))
    const hashOf = async (those: readonly Order[], each: boolean): Promise<string> => {
      const shards = await Shards.open(new SimulatedDisk(), 1)
      for (const order of those) {
        shards.fold([order])
        if (each && random.int(20) === 0) await shards.checkpoint()
      }
      const { views } = await shards.checkpoint()
      return views['customers']!.hash
    }
    const hash = await hashOf(given, false)
    expect(await hashOf([...given].reverse(), false)).toBe(hash)
    expect(
      await hashOf(
        [...given].sort(() => random.next() - 0.5),
        true,
      ),
    ).toBe(hash)
    const changed = given.map(order => (order.customer === 77 ? { ...order, cents: order.cents + 1 } : order))
    expect(await hashOf(changed, false)).not.toBe(hash)
  })

  it('that the disk refused are made up for by the next one', async () => {
    const disk = new SimulatedDisk()
    const random = new Random(6)
    const shards = await Shards.open(disk, 2)
    for (let n = 0; n < 40; n++) {
      shards.fold(orders(random))
      const failing = n % 3 === 1 ? random.pick(['create', 'write', 'datasync', 'rename', 'syncFolder']) : ''
      disk.fault = operation => (operation === failing ? systemError('EIO') : undefined)
      const written = await shards.checkpoint(() => shards.fold(orders(random))).catch(error => error as Error)
      disk.fault = () => undefined
      if (written instanceof Error) expect(written.message).toBe('EIO')
      const expected = shards.state()
      await shards.checkpoint()
      const again = await Shards.open(disk.crash(), 1)
      await again.load(again.store.latest!)
      expect(again.state(), `round ${n}`).toEqual(expected)
    }
  })

  it('take at most twice the bytes of the rows that changed, in the long run', async () => {
    const disk = new SimulatedDisk()
    const random = new Random(8)
    const shards = await Shards.open(disk, 1)
    const count = 20_000
    shards.fold(Array.from({ length: count }, (_, n) => ({ ...randomOrder(random, 1), customer: n, gone: false })))
    await shards.checkpoint()
    const full = disk.bytes(disk.paths.find(path => path.endsWith('.rows'))!).length
    let written = 0
    disk.fault = (operation, path) => {
      if (operation === 'datasync' && path.endsWith('.rows')) written += 1
      return undefined
    }
    let bytes = 0
    let rows = 0
    const before = new Map<string, number>()
    for (let n = 0; n < 60; n++) {
      const changed = new Set(Array.from({ length: count / 20 }, () => random.int(count)))
      rows += changed.size
      shards.fold([...changed].map(customer => ({ ...randomOrder(random, 1), customer, gone: false })))
      await shards.checkpoint()
      for (const path of disk.paths) {
        const { length } = disk.bytes(path)
        bytes += path.endsWith('.json') ? length : Math.max(0, length - (before.get(path) ?? (n === 0 ? full : 0)))
        before.set(path, length)
      }
    }
    expect(written).toBe(60)
    expect(bytes / rows / (full / count)).toBeLessThan(2)
  })

  it('give single rows without being loaded, from the newest row of each key', async () => {
    const disk = new SimulatedDisk()
    const random = new Random(12)
    const shards = await Shards.open(disk, 2)
    const states = new Map<number, State>()
    for (let n = 0; n < 30; n++) {
      shards.fold(orders(random, 12))
      states.set(shards.position, shards.state())
      await shards.checkpoint()
    }
    let found = 0
    const turns = { over: false, next: async () => {} }
    // Of the second one a file at a time is more than it keeps.
    for (const lookup of [new RowLookup(disk, LOG_ID), new RowLookup(disk, LOG_ID, 4)])
      for (const { views, position } of shards.store.kept) {
        for (const view of shards.shards[0]!.views) {
          const { files } = views[view.name]!
          for (let n = 0; n < KEYS + 3; n++) {
            const key = view.name === 'customers' ? n : `customer ${n}`
            const { keys } = view.table
            const taken: Buffer[] = []
            const sink = {
              take: (bytes: Buffer, from: number, to: number) => void taken.push(Buffer.from(bytes.subarray(from, to))),
              failed: () => {},
            }
            const hashes = new Set([keys.hashOf(keys.idOf(key))])
            await lookup.take({ folder: FOLDER, identity: '', files, view: view.name, hashes, sink }, turns)
            const row = taken
              .map(bytes => new ByteReader(bytes))
              .find(each => view.key.encode(key).equals(each.bytes()))
            const value = row && row.varint() > 0 ? view.codec.decode(row) : undefined
            expect(value, `${view.name} ${key}`).toEqual(states.get(position)![view.name]![String(key)])
            if (value) found++
          }
        }
      }
    expect(found).toBeGreaterThan(60)
    expect(disk.filesOpen).toBe(2)
  })
})
