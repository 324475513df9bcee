// Changes what the newest checkpoint of a folder holds, as no code of ours would: checksums and hashes are right afterwards.
import { ByteReader, nodeFileSystem } from '../../core/index.ts'
import { loadRows, type RowSink } from '../../projections/checkpoint/load.ts'
import { readManifest, writeManifest } from '../../projections/checkpoint/manifest.ts'
import { RowFileWriter } from '../../projections/checkpoint/row-file-writer.ts'
import { HashSums, hashBytes, lanes } from '../../projections/checkpoint/row-hash.ts'
import { realScheduler, Turns } from '../../projections/shards/scheduler.ts'
import { ALL_GROUPS } from '../../projections/state/key-groups.ts'

/** A row as checkpoints have it: its key, and its support and fields. */
export interface CheckpointRow {
  readonly key: Buffer
  readonly keyHash: number
  row: Buffer
}

/** @param change is given a view's rows by key, and returns what it is to have */
export async function tamper(
  folder: string,
  view: string,
  change: (rows: readonly CheckpointRow[]) => readonly CheckpointRow[],
): Promise<void> {
  const fs = nodeFileSystem
  const manifest = await readManifest(fs, folder)
  if (typeof manifest !== 'object') throw new Error(`no manifest: ${manifest}`)
  const [latest, ...older] = manifest.checkpoints
  const saved = latest!.views[view]!
  const found = new Map<string, CheckpointRow>()
  const sink: RowSink = {
    take(bytes, from, to, keyHash) {
      const reader = new ByteReader(bytes, from)
      const key = Buffer.from(bytes.subarray(reader.at + 1, reader.varint() + reader.at))
      const row = Buffer.from(bytes.subarray(from + 1 + key.length, to))
      if (!found.has(key.toString('hex'))) found.set(key.toString('hex'), { key, keyHash, row })
    },
    failed: () => {},
  }
  const { logId } = manifest
  const turns = new Turns(realScheduler, 2)
  await loadRows({ fs, folder, logId, groups: ALL_GROUPS, turns }, new Map([[view, { sink, files: saved.files }]]))
  const rows = [...found.values()].filter(({ row }) => row[0] !== 0).sort((a, b) => a.key.compare(b.key))
  const file = new RowFileWriter(fs, folder, '9999999999-999.rows', logId)
  const [chunk] = file.begin([view])
  const sums = new HashSums()
  for (const { key, row, keyHash } of change(rows)) {
    const { writer } = chunk!
    const from = writer.at
    writer.bytes(key)
    writer.raw(row)
    hashBytes(writer.buffer, from, writer.at)
    sums.add(keyHash >>> 25, 1, lanes.low, lanes.high)
    chunk!.endRow(keyHash)
  }
  await file.end(() => sums.groups())
  const files = [{ name: file.name, bytes: file.bytes, groups: ALL_GROUPS }]
  await file.close()
  const views = { ...latest!.views, [view]: { ...saved, ...sums.total(), files } }
  await writeManifest(fs, folder, { ...manifest, checkpoints: [{ ...latest!, views }, ...older] })
}
