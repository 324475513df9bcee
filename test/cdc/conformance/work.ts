// Changes of every kind over the shared tables, from a seed.
import type { Random } from '../../support/random.ts'
import type { SqlSession } from './databases.ts'

export const ACCOUNTS = 2_000

/**
 * One transaction: a transfer over both tables, and now and then a deletion, a moved key, a rollback.
 * @param more statements of it
 * @returns whether it was committed
 */
export async function transact(
  session: SqlSession,
  random: Random,
  number: number,
  ...more: readonly string[]
): Promise<boolean> {
  const first = random.int(ACCOUNTS) + 1
  // In one order, so that two workers never wait for each other.
  const [a, b] = [first, first + 1 + random.int(50)]
  const amount = random.int(10_000)
  const note = random.pick(['null', "'short'", `'${'n'.repeat(random.int(3_000))}'`])
  await session.query('begin')
  await session.query(`insert into transfers values (${number}, ${a}, ${b}, ${amount}.25)`)
  await session.query(`update accounts set balance = balance - ${amount}.25, note = ${note} where id = ${a}`)
  await session.query(`update accounts set balance = balance + ${amount}.25 where id = ${b}`)
  if (number % 5 === 0) await session.query(`update accounts set balance = balance + 1 where id % 97 = ${number % 97}`)
  if (number % 7 === 0) await session.query(`delete from transfers where id = ${random.int(number + 1)}`)
  if (number % 11 === 0) await session.query(`update accounts set id = ${100_000 + number} where id = ${a}`)
  if (number % 17 === 0) await session.query(`delete from accounts where id = ${b}`)
  for (const statement of more) await session.query(statement)
  const isCommitted = number % 13 !== 0
  await session.query(isCommitted ? 'commit' : 'rollback')
  return isCommitted
}
