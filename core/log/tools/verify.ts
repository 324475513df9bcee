// Reads all of a log's folder and says everything that is wrong with it, each with its file and byte. Nothing is written, and an
// application may run on the folder meanwhile. Checked are: each checksum, and that each byte stands under one (or is zero, where
// it only fills up); that positions follow each other, batches are whole and append times never fall; that what is said twice is
// the same (index files, footers, zones, the key index); and that every record decodes under topics.json.
import { join } from 'node:path'
import { asMainstemError, isMainstemError } from '../../errors.ts'
import { BASE_FILE, type Manifest, readManifest } from '../base/manifest.ts'
import { type FileSystem, nodeFileSystem } from '../file-system.ts'
import { type LogIdentity, readIdentity } from '../identity.ts'
import type { LogBlock, SourceMark } from '../log.ts'
import { SealedFiles } from '../sealed/sealed-files.ts'
import { parseSealedName } from '../sealed/sealed-segment.ts'
import { firstOfName } from '../segment.ts'
import { Topics } from '../topics.ts'
import { cleaned, isGone, logPath, readOnly } from './offline.ts'
import { verifyHot } from './verify-hot.ts'
import { verifySealed } from './verify-sealed.ts'

export interface Damage {
  readonly file: string
  /** Byte in the file at which what is wrong begins. */
  readonly offset: number
  readonly problem: string
}

export interface VerifyReport {
  readonly segments: number
  readonly bytes: number
  readonly records: number
  /** After the last whole batch: never acknowledged, or being written. No damage. */
  readonly tailBytes: number
  /** All of them, `damages` holds the first thousand. */
  readonly damaged: number
  readonly damages: readonly Damage[]
}

export interface VerifyOptions {
  readonly fileSystem?: FileSystem
  readonly onDamage?: (damage: Damage) => void
  /** Told now and then. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void
}

const DAMAGES_MAX = 1_000

/** State of the log at the end of what was verified. */
export interface Reached {
  /** Position at which the next segment must begin; undefined after damage. */
  next: number | undefined
  appendTimeMs: number
  readonly marks: Map<string, SourceMark>
}

/** What the parts of the check share. */
export class Verification {
  readonly fs: FileSystem
  readonly folder: string
  readonly identity: LogIdentity
  readonly topics: Topics | undefined
  readonly files: SealedFiles
  readonly reached: Reached = { next: 1, appendTimeMs: 0, marks: new Map() }
  readonly damages: Damage[] = []
  damaged = 0
  records = 0
  tailBytes = 0
  doneBytes = 0
  readonly #options: VerifyOptions
  readonly #totalBytes: number

  constructor(
    fs: FileSystem,
    folder: string,
    identity: LogIdentity,
    topics: Topics | undefined,
    options: VerifyOptions,
    totalBytes: number,
  ) {
    this.fs = fs
    this.folder = folder
    this.identity = identity
    this.topics = topics
    this.files = new SealedFiles(fs)
    this.#options = options
    this.#totalBytes = totalBytes
  }

  /** What was reached, to be gone back to where a segment has to be read once more. */
  state(): Reached & { readonly records: number } {
    return { ...this.reached, marks: new Map(this.reached.marks), records: this.records }
  }

  restore({ next, appendTimeMs, marks, records }: ReturnType<Verification['state']>): void {
    Object.assign(this.reached, { next, appendTimeMs })
    this.reached.marks.clear()
    for (const [source, mark] of marks) this.reached.marks.set(source, mark)
    this.records = records
  }

  progress(bytes: number): void {
    this.doneBytes += bytes
    this.#options.onProgress?.(this.doneBytes, Math.max(this.#totalBytes, this.doneBytes))
  }

  damage(file: string, offset: number, problem: string): void {
    this.damaged++
    const damage = { file, offset, problem }
    if (this.damages.length < DAMAGES_MAX) this.damages.push(damage)
    this.#options.onDamage?.(damage)
  }

  /** Notes an error of reading; one that says nothing of the file's content is thrown. */
  error(file: string, offset: number, error: unknown): void {
    if (isGone(error)) throw error
    const known = asMainstemError(error)
    if (known.code === 'LOG_FAILED') throw error
    const at = known.data?.['offset']
    // The place stands apart from the text here.
    const problem = (known.detail ?? known.message).replace(/^.*? at byte \d+: /, '')
    this.damage(file, typeof at === 'number' && at > 0 ? at : offset, problem)
  }

  /** Decodes all records of a block; stops at the first that is not one. */
  decode(block: LogBlock, file: string, offset: number): void {
    if (!this.topics) return
    let seen = 0
    try {
      for (const cursor = block.records(); cursor.next(); ) {
        seen++
        cursor.after()
        cursor.before()
        cursor.parked()
      }
    } catch (error) {
      this.error(file, offset, error)
      return
    } finally {
      this.records += block.count
    }
    if (seen !== block.count) this.damage(file, offset, `a block of ${block.count} records has ${seen}`)
  }

  /** Goes over a block whose place is right: its append time and mark. */
  pass(block: Pick<LogBlock, 'last' | 'appendTimeMs' | 'mark'>, file: string, offset: number): void {
    const { reached } = this
    if (block.appendTimeMs < reached.appendTimeMs)
      this.damage(file, offset, `its append time ${block.appendTimeMs} is before ${reached.appendTimeMs}`)
    reached.appendTimeMs = Math.max(reached.appendTimeMs, block.appendTimeMs)
    if (block.last && block.mark) reached.marks.set(block.mark.source, block.mark)
  }

  /** Takes over what a segment says of the log at its end. */
  believe({ appendTimeMs, marks }: { appendTimeMs: number; marks: readonly SourceMark[] }): void {
    this.reached.appendTimeMs = appendTimeMs
    for (const mark of marks) this.reached.marks.set(mark.source, mark)
  }

  /** Compares what a segment says of the log at its end with what was read. */
  compareEnd(file: string, offset: number, said: { appendTimeMs: number; marks: readonly SourceMark[] }): void {
    const { appendTimeMs, marks } = this.reached
    if (said.appendTimeMs !== appendTimeMs)
      this.damage(file, offset, `it says the append time ${said.appendTimeMs}, the blocks say ${appendTimeMs}`)
    const read = new Map([...marks].map(([source, mark]) => [source, JSON.stringify(mark)]))
    const told = new Map(said.marks.map(mark => [mark.source, JSON.stringify(mark)]))
    for (const source of new Set([...read.keys(), ...told.keys()]))
      if (read.get(source) !== told.get(source))
        this.damage(file, offset, `its mark of source ${source} is not that of the blocks`)
  }
}

/**
 * Verifies a log.
 * @param folder the log's own folder, or an application's data folder
 * @throws DATA_DIR_INVALID where there is no log, LOG_FORMAT_NEWER, LOG_FAILED
 */
export async function verifyLog(folder: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const fs = readOnly(options.fileSystem ?? nodeFileSystem)
  const path = await logPath(fs, folder)
  const early: [string, unknown][] = []
  const identity = await readIdentity(fs, path).catch((error: unknown) => {
    if (isMainstemError(error) && error.code === 'LOG_FORMAT_NEWER') throw error
    early.push([join(path, 'log.json'), error])
    return { id: '00000000-0000-0000-0000-000000000000', epoch: 1, format: 1 }
  })
  const topics = await Topics.open(fs, path, true).catch((error: unknown) => {
    if (isMainstemError(error) && error.code === 'LOG_FORMAT_NEWER') throw error
    early.push([join(path, 'topics.json'), error])
    return undefined
  })
  const base = await readManifest(fs, path).catch((error: unknown) => {
    if (isMainstemError(error) && error.code === 'LOG_FORMAT_NEWER') throw error
    early.push([join(path, BASE_FILE), error])
    return undefined
  })
  const firsts = await firstPositions(fs, path, base)
  const total = await sizes(fs, path)
  const verification = new Verification(fs, path, identity, topics, options, total)
  for (const [file, error] of early) verification.error(file, 0, error)
  let segments = 0
  try {
    // Without the log's id, or without knowing which segments stand for its beginning, nothing can be told from leftovers.
    if (early.every(([file]) => file.endsWith('topics.json'))) {
      if (base) segments += await verifyBase(verification, base)
      for (const [n, first] of firsts.entries())
        segments += await verifySegment(verification, first, n === firsts.length - 1)
    }
  } finally {
    await verification.files.close()
  }
  const { doneBytes: bytes, records, tailBytes, damaged, damages } = verification
  return { segments, bytes, records, tailBytes, damaged, damages }
}

/** The first position of a segment after the base. */
function firstOf(name: string): number | undefined {
  const sealed = parseSealedName(name)
  return sealed ? (sealed.generation === 0 ? sealed.first : undefined) : firstOfName(name)
}

async function firstPositions(fs: FileSystem, folder: string, base: Manifest | undefined): Promise<number[]> {
  const firsts = (await fs.list(folder)).map(firstOf).filter(first => first !== undefined)
  return [...new Set(firsts)].filter(first => first > (base?.to ?? 0)).sort((a, b) => a - b)
}

/** The segments that stand for the cleaned beginning. Gives how many there are. */
async function verifyBase(of: Verification, { segments, to, generation }: Manifest): Promise<number> {
  for (const { name, last } of segments) {
    try {
      await verifySealed(of, parseSealedName(name)!, last)
    } catch (error) {
      if (!isGone(error)) throw error
      if ((await readManifest(of.fs, of.folder))?.generation !== generation) throw cleaned(of.folder)
      of.damage(join(of.folder, name), 0, 'the file is missing; base.json names it')
    }
  }
  of.reached.next = to + 1
  return segments.length
}

async function sizes(fs: FileSystem, folder: string): Promise<number> {
  let total = 0
  for (const name of await fs.list(folder)) {
    if (firstOfName(name) === undefined && parseSealedName(name) === undefined) continue
    try {
      const file = await fs.open(join(folder, name), 'read')
      total += await file.size().finally(() => file.close())
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  return total
}

const ATTEMPTS_MAX = 3

/** The segment's file in either form, or both while one takes the other's place. Gives how many files it was. */
async function verifySegment(of: Verification, first: number, newest: boolean): Promise<number> {
  const before = of.state()
  for (let attempt = 1; ; attempt++) {
    const names = (await of.fs.list(of.folder)).filter(name => firstOf(name) === first)
    try {
      for (const name of names) {
        of.restore(before)
        if (firstOfName(name) === undefined) await verifySealed(of, { first, generation: 0 })
        else await verifyHot(of, first, newest)
      }
      // Removed meanwhile, as retention does.
      if (names.length === 0) of.reached.next = undefined
      return names.length
    } catch (error) {
      // Sealed meanwhile: the file that took its place is in the list by now.
      if (!isGone(error) || attempt >= ATTEMPTS_MAX) throw error
    }
  }
}
