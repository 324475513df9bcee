// `mainstem log import`: an export into a data folder, with all that was in it; or its events into a running application.
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import {
  fail,
  type Imported,
  type ImportedBatch,
  ImportReader,
  importLog,
  isMainstemError,
  toWire,
} from '../../../core/index.ts'
import { wholeNumber } from '../arguments.ts'
import { call } from '../http.ts'
import { grouped, line } from '../table.ts'
import { type ReachFlags, withReachOptions } from './folder.ts'
import { Interruption, readLines } from './stream.ts'

interface ImportFlags extends ReachFlags {
  readonly skip: number
}

export function addImport(log: Command): void {
  withReachOptions(log.command('import').description('append what `mainstem log export` wrote, batch by batch'))
    .argument('<file>', 'the export, - for standard input; .gz and .zst are unpacked')
    .option(
      '--skip <count>',
      'batches to pass over: those that an earlier try says are in',
      wholeNumber(0, Number.MAX_SAFE_INTEGER),
      0,
    )
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem log import truth.ndjson.zst --data-dir restored\n  mainstem log import purchases.ndjson --url http://127.0.0.1:7070\n\nWith --data-dir: a new data folder, or one that no application runs on; everything is taken over, append times and marks of sources\ntoo, and a new log appears whole or not at all. With --url: events of the application’s own topics, as its clients append them.',
    )
    .action(run)
}

async function run(file: string, flags: ImportFlags): Promise<void> {
  using interruption = new Interruption()
  let batches = 0
  const onProgress = (done: Pick<Imported, 'batches'>) => {
    batches = done.batches
  }
  const lines = readLines(file, interruption.signal)
  try {
    const reader = await ImportReader.open(lines)
    const { dataDir, url, skip } = flags
    const done =
      dataDir === undefined
        ? await intoApplication(url, reader, skip, onProgress)
        : await intoFolder(dataDir, reader, skip, onProgress)
    if (flags.json) return line(JSON.stringify(done))
    line(
      `  ${grouped(done.records)} records in ${grouped(done.batches - Math.min(skip, done.batches))} batches; the log ends at ${grouped(done.end)}`,
    )
  } catch (error) {
    throw batches === 0 ? error : goOn(error, batches)
  } finally {
    await lines.return(undefined)
  }
}

/** The error, saying where to go on. */
function goOn(error: unknown, batches: number): unknown {
  if (!isMainstemError(error)) return error
  const { code, message, detail, hint, data } = error
  const skip = `${grouped(batches)} batches are in the log: go on with --skip ${batches}`
  return fail(code, message, {
    ...(detail === undefined ? {} : { detail }),
    hint: hint === undefined ? skip : `${hint}; ${skip}`,
    data: { ...data, batches },
    cause: error,
  })
}

type Told = (done: Pick<Imported, 'batches'>) => void

/** An existing log is appended to; a new one is made beside its place, and put there when it is whole. */
async function intoFolder(dataDir: string, reader: ImportReader, skip: number, told: Told): Promise<Imported> {
  const path = existsSync(join(dataDir, 'log.json')) ? resolve(dataDir) : resolve(dataDir, 'log')
  if (existsSync(join(path, 'log.json'))) return importLog(path, reader, { skip, onProgress: told })
  const foreign = existsSync(path) ? (await readdir(path))[0] : undefined
  if (foreign !== undefined)
    throw fail('DATA_DIR_INVALID', `${path} is not the folder of a log`, {
      detail: `it holds ${foreign}, and no log.json`,
      hint: 'give another --data-dir',
    })
  const making = `${path}.importing`
  await mkdir(dirname(path), { recursive: true })
  await rm(making, { recursive: true, force: true })
  try {
    const done = await importLog(making, reader, { skip })
    await rename(making, path)
    await syncFolder(dirname(path))
    return done
  } catch (error) {
    await rm(making, { recursive: true, force: true })
    throw error
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  await folder.sync().finally(() => folder.close())
}

async function intoApplication(url: string, reader: ImportReader, skip: number, told: Told): Promise<Imported> {
  let batches = 0
  let records = 0
  let end = 0
  for await (const batch of reader.batches()) {
    if (batches >= skip && batch.records.length > 0) {
      const { positions } = await append(url, batch)
      records += positions.length
      end = Number(positions.at(-1))
    }
    batches++
    if (batches > skip) told({ batches })
  }
  return { batches, records, end }
}

/** One batch, as one call: so its events are of one topic. */
async function append(url: string, batch: ImportedBatch): Promise<{ positions: readonly string[] }> {
  const topic = batch.records[0]!.topic
  for (const { line: at, op, topic: other } of batch.records) {
    const what =
      op !== 'event'
        ? `is a change of ${other}`
        : other !== topic
          ? `is of ${other}, its batch of ${topic} too`
          : undefined
    if (what !== undefined)
      throw fail('REQUEST_INVALID', `line ${at} of the import ${what}`, {
        detail: 'an application takes events only, and those of one topic as one batch',
        hint: 'export its topics one by one, or import with --data-dir',
        data: { line: at },
      })
  }
  const body = batch.records.map(({ type, after }) => toWire(type, after))
  try {
    return await call(url, `/v1/topics/${encodeURIComponent(topic)}`, { method: 'POST', body })
  } catch (error) {
    if (!isMainstemError(error)) throw error
    const index = typeof error.data?.['index'] === 'number' ? error.data['index'] : batch.records.length - 1
    throw fail(error.code, error.message, {
      detail: `line ${batch.records[index]?.line ?? batch.line}${error.detail ? `: ${error.detail}` : ''}`,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      data: { ...error.data, line: batch.records[index]?.line ?? batch.line },
      cause: error,
    })
  }
}
