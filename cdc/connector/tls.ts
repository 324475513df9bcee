// TLS to a database: what an application may say of it, as Node's own options. Whoever asks for TLS gets the strict form, unless
// less is asked for by name: the certificate is of an authority that is trusted, and of the host that was asked for.
import { type ConnectionOptions, checkServerIdentity } from 'node:tls'
import { fail, type MainstemError, readSetting, type Setting, secretFile, textOf } from '../../core/index.ts'

/**
 * What is checked of the server. verify-full: the certificate's authority and its host name. verify-ca: the authority only, for hosts
 * that the certificate does not name. no-verify: nothing; the connection is encrypted, and anyone may be at its other end.
 */
export type TlsMode = 'verify-full' | 'verify-ca' | 'no-verify'

export const TLS_MODES: readonly TlsMode[] = ['verify-full', 'verify-ca', 'no-verify']

export interface TlsOptions {
  /** Default `verify-full`. */
  readonly mode?: TlsMode
  /** PEM of the authorities to trust, instead of those that Node trusts: the text, `env('…')` or `secretFile('…')`. */
  readonly ca?: string | Setting
  /** PEM of a client certificate, and of its key, for servers that ask for one. */
  readonly cert?: string | Setting
  readonly key?: string | Setting
  /** The name that the certificate has to have. Default: the host of the url. */
  readonly serverName?: string
}

/** Read anew for each connection: certificates are renewed while an application runs. @throws SOURCE_SETTING_MISSING */
export function tlsOptions(tls: boolean | TlsOptions, source: string): ConnectionOptions | false {
  if (tls === false) return false
  const { mode = 'verify-full', ca, cert, key, serverName } = tls === true ? {} : tls
  const read = (setting: string | Setting, what: string) => readSetting(setting, `${what} of source ${source}`)
  return {
    ...(ca === undefined ? {} : { ca: read(ca, 'the authorities') }),
    ...(cert === undefined ? {} : { cert: read(cert, 'the certificate') }),
    ...(key === undefined ? {} : { key: read(key, 'the key') }),
    rejectUnauthorized: mode !== 'no-verify',
    ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    ...(mode === 'verify-full' && serverName !== undefined
      ? { checkServerIdentity: (_host, peer) => checkServerIdentity(serverName, peer) }
      : {}),
  }
}

/** What a url says of TLS by `ssl`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`; undefined where it says nothing. */
export function tlsInUrl({ searchParams }: URL): boolean | TlsOptions | undefined {
  const [ssl, mode, root, cert, key] = ['ssl', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey'].map(name =>
    searchParams.get(name),
  )
  if (mode === 'disable' || ssl === '0' || ssl === 'false') return false
  if (!ssl && !mode && !root && !cert && !key) return undefined
  return {
    mode: TLS_MODES.find(each => each === mode) ?? 'verify-full',
    // `system`, as libpq has it: the authorities that are trusted anyway.
    ...(!root || root === 'system' ? {} : { ca: secretFile(root) }),
    ...(cert ? { cert: secretFile(cert) } : {}),
    ...(key ? { key: secretFile(key) } : {}),
  }
}

/** Node's codes of a certificate that is not right: of OpenSSL's checks, and of the host name's. */
const CERTIFICATE =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_TLS_CERT_)/
const HANDSHAKE = /^(ERR_SSL_|EPROTO|ERR_OSSL_|ERR_TLS_)/

/** The error of a TLS connection that cannot be; undefined where it is something else. */
export function tlsError(source: string, error: unknown): MainstemError | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const detail = `${textOf(error)}${code === '' ? '' : ` (${code})`}`
  if (CERTIFICATE.test(code))
    return fail('SOURCE_TLS', `the certificate of source ${source} is not trusted`, {
      detail,
      hint:
        code === 'ERR_TLS_CERT_ALTNAME_INVALID'
          ? 'connect by a name that the certificate has, or give it: tls: { serverName }'
          : "give the PEM of the server's authority: tls: { ca: secretFile('…') }",
      cause: error,
    })
  if (HANDSHAKE.test(code) || /does not support SSL|establishing an SSL connection/.test(textOf(error)))
    return fail('SOURCE_TLS', `source ${source} and this side find no TLS connection`, {
      detail,
      hint: 'see that the server has TLS turned on, and asks for no certificate that is missing here',
      cause: error,
    })
  return undefined
}
