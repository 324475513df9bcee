// Flags of `mainstem run` about how it is served: where, to whom, and how much.
import { type Command, InvalidArgumentError, Option } from 'commander'
import { env, fail, secretFile } from '../../core/index.ts'
import { HOST_DEFAULT, isTraced, type JwtOptions, PORT_DEFAULT, type ServerSettings } from '../../query-api/index.ts'
import { byteSize, wholeNumber } from './arguments.ts'

export interface ServeFlags {
  readonly port: number
  readonly host: string
  readonly keys?: string
  readonly jwtIssuer?: string
  readonly jwtAudience?: string[]
  readonly jwtJwks?: string
  readonly jwtKey?: string
  readonly jwtAlgorithms?: string[]
  readonly jwtClockTolerance?: number
  readonly jwtScopeClaim?: string
  readonly allowAnonymous?: boolean
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly corsOrigin?: string[]
  readonly bodyLimit?: number
  readonly maxConnections?: number
  readonly rateLimit?: number
  readonly readyLag?: number
  readonly drain?: number
}

/** The environment variable with the file of keys, for `run` and `keys`. */
export const KEYS_ENV = 'MAINSTEM_KEYS'
const JWT_KEY_ENV = 'MAINSTEM_JWT_KEY'

export function withServeOptions(command: Command): Command {
  return command
    .option('--port <port>', 'HTTP port, 0 for any free one', wholeNumber(0, 65_535), PORT_DEFAULT)
    .option('--host <address>', 'HTTP address', HOST_DEFAULT)
    .addOption(
      new Option('--keys <file>', 'ask clients for API keys, those that mainstem keys wrote into this file').env(
        KEYS_ENV,
      ),
    )
    .option('--jwt-issuer <issuer>', 'ask clients for tokens (JWT) of this issuer')
    .option('--jwt-audience <audience...>', 'whom tokens must be made for')
    .option('--jwt-jwks <url>', 'where the issuer publishes its keys')
    .option('--jwt-key <file>', `or its public key (PEM), or a secret, in a file (or in ${JWT_KEY_ENV})`)
    .option('--jwt-algorithms <name...>', 'signatures that are taken (default: what suits the keys)')
    .option('--jwt-clock-tolerance <seconds>', 'by how much clocks may differ (default: 5)', wholeNumber(0, 3_600))
    .option('--jwt-scope-claim <name>', 'the claim with the scopes (default: scope)')
    .option('--allow-anonymous', 'listen beyond this machine although nobody is asked: where the network is the guard')
    .option('--tls-cert <file>', 'serve https with this certificate (PEM); read again when it changes')
    .option('--tls-key <file>', 'its private key (PEM)')
    .option('--cors-origin <origin...>', 'web pages that may call, as https://app.example.com', originOf)
    .option('--body-limit <size>', 'what a request may have (default: 1MiB)', byteSize(1_000))
    .option('--max-connections <n>', 'connections at a time (default: 20000)', wholeNumber(1, 1_000_000))
    .option('--rate-limit <n>', 'requests a second of each client (default: no limit)', wholeNumber(1, 1_000_000))
    .option(
      '--ready-lag <ms>',
      'not ready while a view is older (default: as old as it is)',
      wholeNumber(1, 86_400_000),
    )
    .option('--drain <ms>', 'when stopping, so long not ready but answering (default: 0)', wholeNumber(0, 600_000))
}

function originOf(text: string, before: readonly string[] = []): string[] {
  if (URL.canParse(text) && new URL(text).origin === text) return [...before, text]
  throw new InvalidArgumentError('expected an origin, as https://app.example.com: a scheme, a host, perhaps a port.')
}

/** @throws TLS_INVALID, ACCESS_INVALID for flags of which one needs the other */
export function serverSettings(flags: ServeFlags): ServerSettings {
  const { keys, tlsCert, tlsKey, corsOrigin, bodyLimit, maxConnections, rateLimit, allowAnonymous, readyLag, drain } =
    flags
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw fail('TLS_INVALID', '--tls-cert and --tls-key belong together')
  const jwt = jwtOptions(flags)
  return {
    host: flags.host,
    port: flags.port,
    ...(keys === undefined && jwt === undefined
      ? {}
      : { access: { ...(keys === undefined ? {} : { keysFile: keys }), ...(jwt === undefined ? {} : { jwt }) } }),
    ...(allowAnonymous === undefined ? {} : { allowAnonymous }),
    ...(tlsCert === undefined || tlsKey === undefined ? {} : { tls: { certFile: tlsCert, keyFile: tlsKey } }),
    ...(corsOrigin === undefined ? {} : { corsOrigins: corsOrigin }),
    ...(bodyLimit === undefined ? {} : { bodyBytesMax: bodyLimit }),
    ...(maxConnections === undefined ? {} : { connectionsMax: maxConnections }),
    ...(rateLimit === undefined ? {} : { requestsPerSecondMax: rateLimit }),
    ...(readyLag === undefined ? {} : { readyLagMs: readyLag }),
    ...(drain === undefined ? {} : { drainMs: drain }),
    tracing: isTraced(),
  }
}

function jwtOptions(flags: ServeFlags): JwtOptions | undefined {
  const { jwtIssuer, jwtAudience, jwtJwks, jwtKey, jwtAlgorithms, jwtClockTolerance, jwtScopeClaim } = flags
  if (jwtIssuer === undefined) {
    const other = [jwtAudience, jwtJwks, jwtKey, jwtAlgorithms].some(flag => flag !== undefined)
    if (other) throw fail('ACCESS_INVALID', 'tokens need --jwt-issuer and --jwt-audience')
    return undefined
  }
  return {
    issuer: jwtIssuer,
    audience: jwtAudience ?? [],
    ...(jwtJwks === undefined
      ? { key: jwtKey === undefined ? env(JWT_KEY_ENV) : secretFile(jwtKey) }
      : { jwksUrl: jwtJwks }),
    ...(jwtAlgorithms === undefined ? {} : { algorithms: jwtAlgorithms }),
    ...(jwtClockTolerance === undefined ? {} : { clockToleranceSeconds: jwtClockTolerance }),
    ...(jwtScopeClaim === undefined ? {} : { scopeClaim: jwtScopeClaim }),
  }
}
