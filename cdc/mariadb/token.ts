// Tokens: what has been committed so far, for reads that must see it.

/** What `writeToken` needs of a client: connections and pools of mysql2's promise interface and of the `mariadb` package have it. */
export interface QueryClient {
  query(sql: string): Promise<unknown>
}

/**
 * The token of everything committed so far on the server that `client` is connected to, the source's own: read with
 * `after: token` to see it. Take it after COMMIT.
 * @example await invoices.get(42, { after: await writeToken(pool, billing) })
 */
export async function writeToken<const N extends string>(
  client: QueryClient,
  source: { readonly name: N; readonly technology: string },
): Promise<`${N}:${string}`> {
  const variable = source.technology === 'mysql' ? '@@global.gtid_executed' : '@@global.gtid_binlog_pos'
  const answer = await client.query(`select ${variable} as position`)
  return `${source.name}:${positionIn(answer).replaceAll(/\s/g, '')}`
}

/** mysql2 answers with rows and columns, mariadb with rows. */
function positionIn(answer: unknown): string {
  let value = answer
  while (Array.isArray(value)) value = value[0]
  return typeof value === 'object' && value !== null && 'position' in value ? String(value.position) : ''
}
