import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openTableStore, type TableStore } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'

let folder: string
let store: TableStore

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mainstem-store-'))
  store = openTableStore(join(folder, 'store'))
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

const bytes = (...values: number[]) => Buffer.from(values)
const entries = (table: string) =>
  [...store.entries(table)].map(([key, value]) => [key.toString('hex'), value.toString()])

async function reopen(): Promise<void> {
  await store.close()
  store = openTableStore(join(folder, 'store'))
}

describe('the table store', () => {
  it('shows writes at once, and entries when they are committed', async () => {
    store.put('t', bytes(1), Buffer.from('one'))
    store.put('t', bytes(2), Buffer.alloc(0))
    store.remove('t', bytes(3))
    expect(store.pending).toBe(3)
    expect([1, 2, 3].map(n => store.get('t', bytes(n))?.toString())).toEqual(['one', '', undefined])
    expect(entries('t')).toEqual([])
    store.setMeta('position', { at: 5 })
    expect(store.meta('position')).toBeUndefined()
    await store.commit()
    expect(store.pending).toBe(0)
    expect(store.meta('position')).toEqual({ at: 5 })
    await reopen()
    expect(entries('t')).toEqual([
      ['01', 'one'],
      ['02', ''],
    ])
    expect(store.get('t', bytes(2))).toEqual(Buffer.alloc(0))
    expect(store.meta('position')).toEqual({ at: 5 })
    expect(store.get('other', bytes(1))).toBeUndefined()
  })

  it('keeps any bytes as keys and walks them in the order of the bytes', async () => {
    const random = new Random(3)
    const keys = new Set(['00', 'ff', 'ffffffff', '0000', '00ff', '80'])
    while (keys.size < 400)
      keys.add(
        Buffer.from(
          Array.from({ length: 1 + random.int(20) }, () => random.pick([0, 1, 127, 128, 255, random.int(256)])),
        ).toString('hex'),
      )
    keys.add('ab'.repeat(1_900))
    for (const key of keys) store.put('t', Buffer.from(key, 'hex'), Buffer.from(key))
    await store.commit()
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a, 'hex'), Buffer.from(b, 'hex')))
    expect(entries('t')).toEqual(sorted.map(key => [key, key]))
    for (const key of keys) expect(store.get('t', Buffer.from(key, 'hex'))?.toString()).toBe(key)
  })

  it('gives values that stay as they are while others are read', async () => {
    for (let n = 0; n < 50; n++) store.put('t', bytes(n), Buffer.from(`value ${n}`))
    await store.commit()
    const values = Array.from({ length: 50 }, (_, n) => store.get('t', bytes(n))?.toString())
    const held = Array.from({ length: 50 }, (_, n) => store.get('t', bytes(n)))
    const walked = [...store.entries('t')]
    expect(held.map(value => value?.toString())).toEqual(values)
    expect(walked.map(([key, value]) => [key[0], value.toString()])).toEqual(values.map((value, n) => [n, value]))
  })

  it('commits what was written before the call, nothing of what comes after', async () => {
    store.put('t', bytes(1), Buffer.from('a'))
    store.setMeta('position', 1)
    const first = store.commit()
    store.put('t', bytes(1), Buffer.from('b'))
    store.setMeta('position', 2)
    const second = store.commit()
    store.put('t', bytes(1), Buffer.from('c'))
    store.setMeta('position', 3)
    await first
    expect([store.meta('position'), entries('t')]).toEqual([1, [['01', 'a']]])
    expect(store.get('t', bytes(1))?.toString()).toBe('c')
    await second
    expect([store.meta('position'), entries('t')]).toEqual([2, [['01', 'b']]])
    expect(store.get('t', bytes(1))?.toString()).toBe('c')
    await reopen()
    expect([store.meta('position'), entries('t')]).toEqual([2, [['01', 'b']]])
  })

  it('clears one table and leaves the others and their writes alone', async () => {
    for (const table of ['t', 'u']) store.put(table, bytes(1), Buffer.from('old'))
    await store.commit()
    store.put('t', bytes(2), Buffer.from('gone'))
    store.put('u', bytes(2), Buffer.from('stays'))
    const cleared = store.clear('t')
    store.put('t', bytes(3), Buffer.from('new'))
    expect([1, 2, 3].map(n => store.get('t', bytes(n))?.toString())).toEqual([undefined, undefined, 'new'])
    expect(store.pending).toBe(2)
    await cleared
    expect([entries('t'), entries('u')]).toEqual([[], [['01', 'old']]])
    await store.commit()
    expect(entries('t')).toEqual([['03', 'new']])
    expect(entries('u')).toHaveLength(2)
  })

  it('commits 300,000 rows of several new tables at once', async () => {
    const key = (n: number) => bytes(n >> 16, (n >> 8) & 255, n & 255)
    for (let n = 0; n < 300_000; n++) store.put(`t${n % 3}`, key(n), Buffer.from(String(n)))
    await store.commit()
    expect([...store.entries('t1')]).toHaveLength(100_000)
    expect(store.get('t2', key(299_999))?.toString()).toBe('299999')
  })

  it('finds what was spilled as what is in memory, and commits all of it, or none that counts', async () => {
    const key = (n: number) => bytes(n >> 8, n & 255)
    const random = new Random(11)
    const expected = new Map<number, string>()
    const write = (n: number) => {
      if (random.int(4) === 0) {
        store.remove('t', key(n))
        expected.delete(n)
      } else {
        const value = String(random.int(1e9))
        store.put('t', key(n), Buffer.from(value))
        expected.set(n, value)
      }
    }
    const check = () => {
      for (let n = 0; n < 9_000; n++) expect(store.get('t', key(n))?.toString()).toBe(expected.get(n))
    }
    for (let n = 0; n < 3_000; n++) write(random.int(9_000))
    store.setMeta('position', 1)
    await store.commit()
    const committed = entries('t')
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 5_000; n++) write(random.int(9_000))
      await store.spill()
      expect([store.pending, store.pendingBytes]).toEqual([0, 0])
    }
    for (let n = 0; n < 500; n++) write(random.int(9_000))
    check()
    expect(entries('t')).toEqual(committed)
    expect(store.count('t')).toBe(committed.length)
    expect(new Set([...store.writtenKeys('t')].map(found => found.toString('hex'))).size).toBeGreaterThan(7_000)
    // What is written while a spilled commit is under way stands over it.
    store.setMeta('position', 2)
    const done = store.commit()
    write(7)
    write(8)
    check()
    await done
    check()
    expect(store.meta('position')).toBe(2)
    expect([...store.writtenKeys('t')]).toEqual([key(7), key(8)])
    store.setMeta('position', 3)
    await store.commit()
    const all = [...expected].sort(([a], [b]) => a - b).map(([n, value]) => [key(n).toString('hex'), value])
    expect(entries('t')).toEqual(all)
    write(9)
    await store.spill()
    await reopen()
    expect([store.meta('position'), entries('t')]).toEqual([3, all])
    expect(readdirSync(join(folder, 'store')).sort()).toEqual(['data.mdb', 'lock.mdb'])
  })

  it('is not opened where its file is something else: LMDB would end the process', async () => {
    const path = join(folder, 'other')
    mkdirSync(path)
    writeFileSync(join(path, 'data.mdb'), Buffer.alloc(50_000))
    expect(() => openTableStore(path)).toThrow(expect.objectContaining({ code: 'DATA_DIR_INVALID' }))
  })

  it('does what a map does', async () => {
    const random = new Random(11)
    const model = new Map<number, string>()
    const commits: Promise<void>[] = []
    for (let n = 0; n < 5_000; n++) {
      const key = random.int(200)
      const choice = random.next()
      if (choice < 0.5) {
        model.set(key, String(n))
        store.put('t', bytes(key), Buffer.from(String(n)))
      } else if (choice < 0.8) {
        model.delete(key)
        store.remove('t', bytes(key))
      } else if (choice < 0.801) {
        model.clear()
        commits.push(store.clear('t'))
      } else if (choice < 0.82) commits.push(store.commit())
      else if (choice < 0.83) await Promise.all(commits.splice(0))
      else expect(store.get('t', bytes(key))?.toString()).toBe(model.get(key))
    }
    await Promise.all([...commits, store.commit()])
    await reopen()
    expect(entries('t')).toEqual(
      [...model].sort(([a], [b]) => a - b).map(([key, value]) => [bytes(key).toString('hex'), value]),
    )
  })
})

const hasPrlimit = (() => {
  try {
    execFileSync('prlimit', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

describe.runIf(hasPrlimit)('a table store whose disk refuses (file size limit set by prlimit)', () => {
  it('loses no write: reads see them, and the next commit brings all of them', async () => {
    const child = spawn(
      process.execPath,
      [resolve(import.meta.dirname, '../../support/store-child.ts'), join(folder, 'child')],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    )
    const limit = (size: string) => execFileSync('prlimit', ['--pid', String(child.pid), `--fsize=${size}:unlimited`])
    const lines: string[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line)
      if (line === 'limit') limit('400000')
      if (line === 'lift') limit('unlimited')
      child.stdin.write('go\n')
    }
    expect(lines).toEqual([
      'limit',
      'LOG_FAILED',
      'one two 49999 position 1',
      'lift',
      'committed',
      'one two 49999 position 3',
    ])
    store = openTableStore(join(folder, 'child'))
    expect([...store.entries('t')]).toHaveLength(50_000)
    expect(store.get('t', bytes(0, 0, 1))?.toString()).toBe('one')
    expect(store.meta('position')).toBe(3)
  })
})
