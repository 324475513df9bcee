// What the tests of PostgreSQL's connector share.
import { type PostgresOptions, type PostgresSource, postgres, writeToken } from '../../../cdc/index.ts'
import { withClient } from '../../support/postgres.ts'
import { CapturedSource } from '../captured.ts'

export { changesOf, foldLog, readBlocks, type SeenChange, until } from '../captured.ts'

export type Source = PostgresSource<'db'>

/** The source `db` of the tests. */
export const source = (url: string, options: Partial<PostgresOptions> = {}): Source =>
  postgres('db', { url, ...options })

export class Captured extends CapturedSource {
  async run(...statements: readonly string[]): Promise<void> {
    await withClient(this.url, async client => {
      for (const statement of statements) await client.query(statement)
    })
  }

  protected token(): Promise<string> {
    return withClient(this.url, client => writeToken(client, { name: 'db' }))
  }
}
