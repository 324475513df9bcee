// The connection string, taken apart as far as TLS and the password go: pg's own reading of `sslmode` differs from version to version,
// and its connection string wins over options. The rest of the text is pg's. No error shows the text: it may hold a password.
import { fail } from '../../core/index.ts'
import { type TlsOptions, tlsInUrl } from '../connector/tls.ts'

/** What pg reads as a connection string; it would take anything else for the name of a host. */
const CONNECTION_STRING = /^(postgres|postgresql|socket):|^\//i
const TLS_PARAMETERS = ['ssl', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation', 'uselibpqcompat']

export interface ConnectionUrl {
  /** Of `sslmode` and its like; undefined where the url says nothing of TLS. */
  readonly tls: boolean | TlsOptions | undefined
  /** TLS without asking the server first, as PostgreSQL 17 and later take it. */
  readonly negotiation: 'direct' | undefined
  /** The connection string for pg, with a password where one is given. */
  text(password: string | undefined): string
}

/** @throws SOURCE_UNREACHABLE where it is not a url of PostgreSQL */
export function connectionUrl(source: string, text: string): ConnectionUrl {
  if (!CONNECTION_STRING.test(text)) throw notAUrl(source)
  // A folder of sockets and a database, or a url that only pg can read.
  const url = text.startsWith('/') ? undefined : URL.parse(text.replace('@/', '@%2Fvoid/'))
  const plain = { tls: undefined, negotiation: undefined, text: () => text }
  if (!url) return plain
  const get = (name: string) => url.searchParams.get(name) ?? undefined
  const negotiation = get('sslnegotiation') === 'direct' ? 'direct' : undefined
  const tls = tlsInUrl(url)
  const says = TLS_PARAMETERS.some(name => url.searchParams.has(name))
  return {
    tls: tls ?? (negotiation ? true : undefined),
    negotiation,
    text: password => {
      if (!says && password === undefined) return text
      const changed = new URL(url)
      for (const name of TLS_PARAMETERS) changed.searchParams.delete(name)
      if (password !== undefined) changed.password = encodeURIComponent(password)
      return changed.href.replace('@%2Fvoid/', '@/')
    },
  }
}

const notAUrl = (source: string) =>
  fail('SOURCE_UNREACHABLE', `the url of source ${source} is not one of PostgreSQL`, {
    hint: 'write postgres://user:password@host:port/database',
  })
