// `mainstem keys`: API keys of an application, in a file that `mainstem run --keys` reads, and reads again when it changes.
import { type Command, InvalidArgumentError, Option } from 'commander'
import { createKey, listKeys, revokeKey, type StoredKey } from '../../query-api/index.ts'
import { KEYS_ENV } from './serve-options.ts'
import { formatTable, line } from './table.ts'

interface KeysFlags {
  readonly keys: string
  readonly json?: boolean
}

interface CreateFlags extends KeysFlags {
  readonly scope: string[]
  readonly claim?: Readonly<Record<string, unknown>>
  readonly expires?: Date
}

const DAY_MS = 86_400_000

const withFile = (command: Command): Command =>
  command
    .addOption(new Option('--keys <file>', 'the file of keys').env(KEYS_ENV).default('.mainstem/keys.json'))
    .option('--json', 'print JSON, one object as the last line')

/** `90d`, or a day or time. */
function expiryOf(text: string): Date {
  const [, days] = /^(\d{1,5})d$/.exec(text) ?? []
  const expiresMs = days === undefined ? Date.parse(text) : Date.now() + Number(days) * DAY_MS
  if (expiresMs > Date.now()) return new Date(expiresMs)
  throw new InvalidArgumentError('expected a number of days such as 90d, or a day to come such as 2030-01-31.')
}

/** `tenant=7`: JSON where it is that, else a text. */
function claimOf(text: string, before: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('expected name=value.')
  const value = text.slice(at + 1)
  try {
    return { ...before, [text.slice(0, at)]: JSON.parse(value) }
  } catch {
    return { ...before, [text.slice(0, at)]: value }
  }
}

/** Without its hash: what is shown ends up in logs. */
const shown = ({ sha256: _, ...rest }: StoredKey) => rest

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('API keys: make, list and revoke them')
  withFile(keys.command('create').description('make a key and print it, this once; only its hash is kept'))
    .argument('<name>', 'who it is for')
    .requiredOption(
      '--scope <scope...>',
      'what it may do: view:NAME, topic:NAME, log:NAME, admin:VERB (or :*), metrics',
    )
    .option('--claim <name=value>', 'what policies of views look at; may be given several times', claimOf)
    .option('--expires <when>', 'in so many days (90d), or on a day (default: never)', expiryOf)
    .addHelpText(
      'after',
      "\nExample:\n  mainstem keys create reporting --scope 'view:*' metrics --expires 90d --keys keys.json",
    )
    .action(async (name: string, { keys: file, scope, claim, expires, json }: CreateFlags) => {
      const { key, stored } = await createKey(file, {
        name,
        scopes: scope,
        ...(claim === undefined ? {} : { claims: claim }),
        ...(expires === undefined ? {} : { expiresAt: expires }),
      })
      if (json) return line(JSON.stringify({ key, ...shown(stored) }))
      line(key)
    })
  withFile(keys.command('list').description('list the keys, without what they are')).action(
    async ({ keys: file, json }: KeysFlags) => {
      const listed = await listKeys(file)
      if (json) return line(JSON.stringify({ keys: listed.map(shown) }))
      formatTable(listed, [
        { text: key => key.name },
        { text: key => key.id },
        { text: key => key.scopes.join(' ') },
        { text: key => `since ${key.createdAt.slice(0, 10)}` },
        { text: stateOf },
      ]).forEach(line)
    },
  )
  withFile(keys.command('revoke').description('take a key back: a running application refuses it within a second'))
    .argument('<name|id>', 'its name or id')
    .action(async (nameOrId: string, { keys: file, json }: KeysFlags) => {
      const revoked = await revokeKey(file, nameOrId)
      line(json ? JSON.stringify(shown(revoked)) : `  ${revoked.name} (${revoked.id}) is revoked`)
    })
}

function stateOf({ expiresAt, revokedAt }: StoredKey): string {
  if (revokedAt !== null) return `revoked ${revokedAt.slice(0, 10)}`
  return expiresAt === null ? 'does not expire' : `expires ${expiresAt.slice(0, 10)}`
}
