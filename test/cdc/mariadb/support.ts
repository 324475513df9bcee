// What the tests of MariaDB's and MySQL's connector share.
import { type MariadbOptions, type MariadbSource, mariadb, mysql, writeToken } from '../../../cdc/mariadb/index.ts'
import { withMariadb } from '../../support/mariadb.ts'
import { CapturedSource } from '../captured.ts'

export { changesOf, foldLog, until } from '../captured.ts'

export type Source = MariadbSource<'db'>

/** The source `db` of the tests; a `mysql:` url is one of MySQL. */
export const source = (url: string, options: Partial<MariadbOptions> = {}): Source =>
  url.startsWith('mysql:') ? mysql('db', { url, ...options }) : mariadb('db', { url, ...options })

export class Captured extends CapturedSource {
  async run(...statements: readonly string[]): Promise<void> {
    await withMariadb(this.url, async client => {
      for (const statement of statements) await client.query(statement)
    })
  }

  protected token(): Promise<string> {
    const technology = this.url.startsWith('mysql:') ? 'mysql' : 'mariadb'
    return withMariadb(this.url, client => writeToken(client, { name: 'db', technology }))
  }
}
