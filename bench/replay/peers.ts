// The contests: our log, or the same file, against Flink and Kafka Streams.
import { join } from 'node:path'
import type { Goal } from '../harness.ts'
import { type Order, type Part, scaled } from '../log-data.ts'
import { type EventsFormat, writeLines, writeRecords } from '../orders-data.ts'
import { type FlinkWork, Peers, whyNoPeers } from '../peers.ts'
import { replay, sealedLog } from './ours.ts'
import { type Comparison, Contest, type Side } from './versus.ts'
import { WORKS, type WorkName } from './works.ts'

const ROUNDS = 5
/** Of sides of which no goal speaks. */
const FIGURE_ROUNDS = 3
/** Where the log is ours, or the records are compact. */
export const COMPACT_EVENTS = scaled(50_000_000, 1_000)
const LINES = scaled(5_000_000, 1_000)
/** Kafka Streams does 50,000 in a second. */
const STREAMS_EVENTS = scaled(2_000_000, 1_000)

const TOPIC = 'orders'

export const COMPARISONS: readonly Comparison[] = [
  {
    name: 'same NDJSON vs Flink hashmap per core',
    goal: 2,
    ours: 'NDJSON file',
    theirs: 'Flink hashmap, NDJSON, best',
  },
  {
    name: 'same binary vs Flink hashmap per core',
    goal: 5,
    ours: 'binary file',
    theirs: 'Flink hashmap, binary, best',
  },
  {
    name: 'replay handler vs Flink hashmap per core',
    goal: 12,
    ours: 'own log, handler',
    theirs: 'Flink hashmap, usual',
  },
  {
    name: 'replay handler vs Kafka Streams in-memory per core',
    goal: 25,
    ours: 'own log, handler',
    theirs: 'Kafka Streams in-memory, usual',
  },
  {
    name: 'replay aggregates vs Flink hashmap per core',
    goal: 25,
    ours: 'own log, aggregates',
    theirs: 'Flink hashmap, usual',
  },
  {
    name: 'string keys vs Flink hashmap per core',
    goal: 6,
    ours: 'own log, UUIDs',
    theirs: 'Flink hashmap, UUIDs, usual',
  },
  { name: 'union vs Flink', goal: 6, ours: 'own log, union', theirs: 'Flink hashmap, union, usual' },
  { name: 'two stages vs Flink', goal: 5, ours: 'own log, two stages', theirs: 'Flink hashmap, two stages, usual' },
  { name: 'string keys vs Flink hashmap, best reader', ours: 'own log, UUIDs', theirs: 'Flink hashmap, UUIDs, best' },
  { name: 'union vs Flink, best reader', ours: 'own log, union', theirs: 'Flink hashmap, union, best' },
  { name: 'two stages vs Flink, best reader', ours: 'own log, two stages', theirs: 'Flink hashmap, two stages, best' },
  {
    name: 'replay handler vs Flink hashmap, best reader of NDJSON',
    ours: 'own log, handler',
    theirs: 'Flink hashmap, NDJSON, best',
  },
]

/** Where no peer can run. */
export function skippedGoals(reason: string): readonly Goal[] {
  return COMPARISONS.flatMap(({ name, goal }) =>
    goal === undefined ? [] : [{ name, value: null, goal, unit: '×', equal: null, skipped: reason }],
  )
}

export async function againstPeers(folder: string, say: (what: string) => void): Promise<Part> {
  const reason = whyNoPeers()
  if (reason !== undefined) return { goals: skippedGoals(reason), figures: { peers: `skipped: ${reason}` } }
  say('building the peers')
  await using peers = await Peers.open(folder)
  say(`writing ${COMPACT_EVENTS / 1e6} M and ${LINES / 1e6} M events`)
  const inputs = await writeInputs(folder)
  const sides = [...(await ourSides(folder, inputs)), ...flinkSides(peers, inputs), await streamsSide(folder, peers)]
  const contest = new Contest(sides)
  await contest.measure(ROUNDS, say)
  return {
    goals: contest.goals(COMPARISONS),
    figures: { 'events of compact works': COMPACT_EVENTS, lines: LINES, ...contest.figures(COMPARISONS) },
  }
}

async function ourSides(folder: string, inputs: Inputs): Promise<readonly Side[]> {
  const side = async (name: string, work: WorkName, app: string, events: number): Promise<Side> => {
    const dataDir = await sealedLog(folder, work, events)
    return { name, work, events, run: () => replay({ work, app, dataDir, events }) }
  }
  const file = (name: string, { input: path, format, events }: Inputs[keyof Inputs]): Side => {
    const dataDir = join(folder, `${format}-views`)
    const told = { work: 'orders', app: 'handler', dataDir, input: { path, format }, events } as const
    return { name, work: 'orders', events, run: () => replay(told) }
  }
  return [
    file('NDJSON file', inputs.orders),
    file('binary file', inputs.binary),
    await side('own log, handler', 'orders', 'handler', COMPACT_EVENTS),
    await side('own log, aggregates', 'orders', 'aggregates', COMPACT_EVENTS),
    await side('own log, UUIDs', 'uuid', 'handler', LINES),
    await side('own log, union', 'union', 'handler', LINES),
    await side('own log, two stages', 'stages', 'handler', LINES),
  ]
}

/** Writes the first `events` of a work into a file. */
async function input(folder: string, work: WorkName, format: EventsFormat, events: number): Promise<string> {
  const path = join(folder, `${work}-${events}.${format}`)
  const source = WORKS[work].source()
  if (format === 'ndjson') await writeLines(path, source, events)
  else await writeRecords(path, source as () => Order, events)
  return path
}

/** Files of events, as a peer is told them. */
type Inputs = Readonly<
  Record<'orders' | 'binary' | 'uuid' | 'union', Pick<FlinkWork, 'input' | 'format' | 'events' | 'backend'>>
>

async function writeInputs(folder: string): Promise<Inputs> {
  const told = async (work: WorkName, format: EventsFormat, events: number) => ({
    input: await input(folder, work, format, events),
    format,
    events,
    backend: 'hashmap' as const,
  })
  return {
    orders: await told('orders', 'ndjson', LINES),
    binary: await told('orders', 'binary', COMPACT_EVENTS),
    uuid: await told('uuid', 'ndjson', LINES),
    union: await told('union', 'ndjson', LINES),
  }
}

function flinkSides(peers: Peers, { orders, binary, uuid, union }: Inputs): readonly Side[] {
  const side = (name: string, work: 'orders' | 'uuid' | 'union' | 'stages', told: Omit<FlinkWork, 'work'>): Side => ({
    name: `Flink hashmap, ${name}`,
    work,
    events: told.events,
    run: () => peers.flink({ work, ...told }),
  })
  const both = (name: string, work: 'uuid' | 'union' | 'stages', told: Omit<FlinkWork, 'work' | 'reader'>): Side[] => [
    side(`${name}, usual`, work, { ...told, reader: 'usual' }),
    { ...side(`${name}, best`, work, { ...told, reader: 'best' }), rounds: FIGURE_ROUNDS },
  ]
  return [
    side('usual', 'orders', { ...orders, reader: 'usual' }),
    side('NDJSON, best', 'orders', { ...orders, reader: 'best' }),
    side('binary, best', 'orders', { ...binary, reader: 'best' }),
    ...both('UUIDs', 'uuid', uuid),
    ...both('union', 'union', union),
    ...both('two stages', 'stages', orders),
  ]
}

async function streamsSide(folder: string, peers: Peers): Promise<Side> {
  const events = STREAMS_EVENTS
  await peers.load(TOPIC, await input(folder, 'orders', 'ndjson', events), 'ndjson')
  return {
    name: 'Kafka Streams in-memory, usual',
    work: 'orders',
    events,
    run: () => peers.streams({ topic: TOPIC, format: 'ndjson', events, reader: 'usual', backend: 'memory' }),
  }
}
