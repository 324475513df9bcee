// Rows of a table `everything` arrive exactly, from the snapshot and from the stream alike.
import { expect } from 'vitest'
import type { AnyRow } from '../../core/index.ts'
import type { CapturedSource } from './captured.ts'

/** The table is there, and its source not started yet. @param expected its rows as the contract has them, in the order of their keys' texts */
export async function expectExact(captured: CapturedSource, expected: readonly AnyRow[]): Promise<void> {
  await captured.start()
  await captured.level()
  expect(captured.connector.parked(10)).toEqual([])
  expect(await captured.rows('everything')).toEqual(expected)
  await captured.run(
    'create table copy (like everything)',
    'insert into copy select * from everything',
    'delete from everything',
  )
  await captured.level()
  expect(await captured.rows('everything')).toEqual([])
  await captured.run('insert into everything select * from copy')
  await captured.level()
  expect(captured.connector.parked(10)).toEqual([])
  expect(await captured.rows('everything')).toEqual(expected)
}
