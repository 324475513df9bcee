// A trace of what a process asked of its disk, and the question whether each acknowledgement came after what makes it true:
// an fdatasync of the file that began after the batch's write had ended, and an fsync of the folder after the file was made.
import { basename, dirname } from 'node:path'
import type { File, FileSystem } from '../../core/index.ts'

export type TraceEvent =
  | { readonly call: 'create'; readonly path: string }
  | { readonly call: 'rename'; readonly path: string }
  | {
      readonly call: 'write'
      readonly path: string
      readonly text: string
      readonly id: string
      readonly ended: boolean
    }
  | { readonly call: 'sync'; readonly path: string; readonly id: string; readonly ended: boolean }
  | { readonly call: 'acknowledge'; readonly batch: number }

const BATCHES = /<(\d+):0>/g

/** The acknowledged batches. @throws where one was acknowledged before it was durable */
export function acknowledged(events: readonly TraceEvent[]): number[] {
  const written = new Map<string, Set<number>>()
  const unsyncedNames = new Map<string, Set<string>>()
  const covered = new Map<string, { batches: readonly number[]; names: readonly string[] }>()
  const writing = new Map<string, string>()
  const durable = new Map<number, string>()
  const answers: number[] = []
  for (const event of events) {
    if (event.call === 'create' || event.call === 'rename') {
      taken(unsyncedNames, dirname(event.path)).add(event.path)
    } else if (event.call === 'write') {
      if (!event.ended) writing.set(event.id, event.text)
      else
        for (const [, n] of (writing.get(event.id) ?? '').matchAll(BATCHES)) taken(written, event.path).add(Number(n))
    } else if (event.call === 'sync') {
      if (!event.ended) {
        covered.set(event.id, {
          batches: [...(written.get(event.path) ?? [])],
          names: [...(unsyncedNames.get(event.path) ?? [])],
        })
        continue
      }
      const { batches, names } = covered.get(event.id) ?? { batches: [], names: [] }
      for (const n of batches) durable.set(n, event.path)
      for (const name of names) unsyncedNames.get(event.path)?.delete(name)
    } else {
      const path = durable.get(event.batch)
      if (path === undefined) throw new Error(`batch ${event.batch} was acknowledged before its fdatasync had ended`)
      const loose = [...(unsyncedNames.get(dirname(path)) ?? [])].map(name => basename(name))
      if (loose.some(name => name === basename(path) || name === 'topics.json'))
        throw new Error(`batch ${event.batch} was acknowledged before its folder was synced: ${loose}`)
      answers.push(event.batch)
    }
  }
  return answers
}

function taken<K, V>(map: Map<K, Set<V>>, key: K): Set<V> {
  const set = map.get(key) ?? new Set<V>()
  map.set(key, set)
  return set
}

const LINE = /^(?:\[pid\s+(\d+)\] |(\d+)\s+)?(?:<\.\.\. )?(\w+)(.*)$/

/** Lines of `strace -f -y` as events. A call that another thread interrupts takes two lines. */
export function parseStrace(text: string): TraceEvent[] {
  const events: TraceEvent[] = []
  const open = new Map<string, { call: 'write' | 'sync'; path: string }>()
  for (const line of text.split('\n')) {
    const [, bracketed, bare, name = '', rest = ''] = LINE.exec(line) ?? []
    const id = bracketed ?? bare ?? 'main'
    if (rest.startsWith(' resumed>')) {
      const call = open.get(id)
      open.delete(id)
      if (call && / = \d+$/.test(rest)) events.push({ ...call, text: '', id, ended: true })
      continue
    }
    const path = /^\(\d+<([^>]*)>/.exec(rest)?.[1] ?? ''
    const unfinished = rest.endsWith('<unfinished ...>')
    if (name === 'write' && rest.startsWith('(1<')) {
      const batch = /"batch (\d+)\\n"/.exec(rest)?.[1]
      if (batch !== undefined) events.push({ call: 'acknowledge', batch: Number(batch) })
    } else if (name === 'openat' && rest.includes('O_CREAT')) {
      const made = /"([^"]*)"/.exec(rest)?.[1]
      if (made !== undefined) events.push({ call: 'create', path: made })
    } else if (name.startsWith('rename')) {
      const to = /"([^"]*)"\)?[^"]*$/.exec(rest)?.[1]
      if (to !== undefined) events.push({ call: 'rename', path: to })
    } else if (/^(p?writev?2?|pwrite64|fdatasync|fsync)$/.test(name)) {
      const call = name.endsWith('sync') ? 'sync' : 'write'
      events.push({ call, path, text: rest, id, ended: false })
      if (unfinished) open.set(id, { call, path })
      else if (/ = \d+$/.test(rest)) events.push({ call, path, text: '', id, ended: true })
    }
  }
  return events
}

/** A file system that notes what is asked of it: the port's own trace, where there is no strace. */
export function traced(fs: FileSystem, events: TraceEvent[]): FileSystem {
  let calls = 0
  const around = async (call: 'write' | 'sync', path: string, text: string, work: Promise<void>) => {
    const id = String(calls++)
    events.push({ call, path, text, id, ended: false })
    await work
    events.push({ call, path, text: '', id, ended: true })
  }
  return {
    makeFolder: path => fs.makeFolder(path),
    list: path => fs.list(path),
    open: async (path, mode) => {
      if (mode === 'create') events.push({ call: 'create', path })
      const file: File = await fs.open(path, mode)
      return {
        read: (into, position) => file.read(into, position),
        write: (buffers, position) =>
          around('write', path, Buffer.concat(buffers).toString('latin1'), file.write(buffers, position)),
        datasync: () => around('sync', path, '', file.datasync()),
        truncate: bytes => file.truncate(bytes),
        size: () => file.size(),
        modifiedMs: () => file.modifiedMs(),
        close: () => file.close(),
      }
    },
    rename: (from, to) => {
      events.push({ call: 'rename', path: to })
      return fs.rename(from, to)
    },
    remove: path => fs.remove(path),
    syncFolder: path => around('sync', path, '', fs.syncFolder(path)),
    space: folder => fs.space(folder),
    lock: path => fs.lock(path),
  }
}
