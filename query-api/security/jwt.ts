// JSON Web Tokens (RFC 7519), verified by jose: by keys of an issuer's JWKS, or by one key. Which algorithms are taken is said here and never
// by the token, and a token must say until when it holds, whose it is and for whom it was made.
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import {
  createRemoteJWKSet,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose'
import { fail, readSetting, type Setting, textOf } from '../../core/index.ts'
import { Viewer } from './viewer.ts'

export interface JwtOptions {
  /** `iss` of the tokens. */
  readonly issuer: string
  /** `aud` that a token must have, or one of several. */
  readonly audience: string | readonly string[]
  /** Where the issuer publishes its keys; exactly one of `jwksUrl` and `key`. */
  readonly jwksUrl?: string
  /** A public key as PEM, or a secret of at least 32 bytes, which only HMAC takes. */
  readonly key?: string | Setting
  /** Default: with JWKS RS256, PS256, ES256 and EdDSA; otherwise what suits the key. */
  readonly algorithms?: readonly string[]
  /** By how much clocks may differ. Default 5. */
  readonly clockToleranceSeconds?: number
  /** The claim that has the scopes, as a list or separated by spaces. Default `scope`. */
  readonly scopeClaim?: string
}

/** Public keys only: none of them can be taken for the secret of an HMAC. */
const JWKS_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA']
const SECRET_BYTES_MIN = 32
const JWKS_TIMEOUT_MS = 5_000
/** A key that is not known makes the set be fetched again at most this often. */
const JWKS_COOLDOWN_MS = 30_000

export class Jwts {
  readonly #key: KeyObject | JWTVerifyGetKey
  readonly #options: JWTVerifyOptions
  readonly #scopeClaim: string

  private constructor(key: KeyObject | JWTVerifyGetKey, options: JWTVerifyOptions, scopeClaim: string) {
    this.#key = key
    this.#options = options
    this.#scopeClaim = scopeClaim
  }

  /** @throws ACCESS_INVALID */
  static open(options: JwtOptions): Jwts {
    const { issuer, audience, jwksUrl, key, clockToleranceSeconds = 5, scopeClaim = 'scope' } = options
    if (issuer === '' || audience.length === 0)
      throw fail('ACCESS_INVALID', 'tokens need an issuer and an audience', {
        hint: 'without them a token that was made for another service would be taken',
      })
    if ((jwksUrl === undefined) === (key === undefined))
      throw fail('ACCESS_INVALID', 'tokens are verified by a JWKS or by a key', { hint: 'give one of both' })
    const checks = {
      issuer,
      audience: [audience].flat(),
      clockTolerance: clockToleranceSeconds,
      requiredClaims: ['exp'],
    }
    if (jwksUrl !== undefined) {
      const algorithms = [...(options.algorithms ?? JWKS_ALGORITHMS)]
      if (algorithms.some(each => each.startsWith('HS')))
        throw fail('ACCESS_INVALID', 'keys that are published are no secrets', {
          hint: 'take no HS… algorithm with a JWKS',
        })
      const keys = createRemoteJWKSet(urlOf(jwksUrl), {
        timeoutDuration: JWKS_TIMEOUT_MS,
        cooldownDuration: JWKS_COOLDOWN_MS,
      })
      return new Jwts(keys, { ...checks, algorithms }, scopeClaim)
    }
    const { object, algorithms } = keyOf(readSetting(key ?? '', 'the key for tokens'), options.algorithms)
    return new Jwts(object, { ...checks, algorithms }, scopeClaim)
  }

  /** @throws UNAUTHENTICATED; AUTH_UNAVAILABLE where the issuer's keys cannot be had */
  async viewer(text: string): Promise<Viewer> {
    const { sub, exp, ...claims } = await this.#verified(text)
    const given = claims[this.#scopeClaim]
    const scopes = typeof given === 'string' ? given.split(' ') : Array.isArray(given) ? given.map(String) : []
    const name = sub ?? (typeof claims['client_id'] === 'string' ? claims['client_id'] : 'unnamed')
    return new Viewer(`jwt:${name.slice(0, 200)}`, scopes, { ...claims, sub: name }, (exp ?? 0) * 1_000)
  }

  async #verified(text: string): Promise<JWTPayload> {
    try {
      const verified = await (typeof this.#key === 'function'
        ? jwtVerify(text, this.#key, this.#options)
        : jwtVerify(text, this.#key, this.#options))
      return verified.payload
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw fail('UNAUTHENTICATED', 'the token has expired')
      if (
        error instanceof errors.JOSEError &&
        !(error instanceof errors.JWKSTimeout) &&
        error.code !== 'ERR_JOSE_GENERIC'
      )
        throw fail('UNAUTHENTICATED', 'the token is not valid', { detail: textOf(error) })
      throw fail('AUTH_UNAVAILABLE', "the issuer's keys cannot be had", { detail: textOf(error), cause: error })
    }
  }
}

function urlOf(text: string): URL {
  if (URL.canParse(text) && /^https?:/.test(text)) return new URL(text)
  throw fail('ACCESS_INVALID', 'the JWKS is not at an http or https URL')
}

/** A PEM is a public key, what else is given a secret; the algorithms that are asked for must suit it. @throws ACCESS_INVALID */
function keyOf(text: string, wanted: readonly string[] | undefined): { object: KeyObject; algorithms: string[] } {
  const isPem = text.includes('-----BEGIN')
  const object = isPem ? publicKey(text) : createSecretKey(Buffer.from(text))
  if (!isPem && (object.symmetricKeySize ?? 0) < SECRET_BYTES_MIN)
    throw fail('ACCESS_INVALID', `a secret for tokens has at least ${SECRET_BYTES_MIN} bytes`)
  const suiting = isPem ? suitingAlgorithms(object) : ['HS256', 'HS384', 'HS512']
  const other = wanted?.find(each => !suiting.includes(each))
  if (other !== undefined)
    throw fail('ACCESS_INVALID', `the algorithm ${other.slice(0, 20)} does not suit the key`, {
      hint: `it takes ${suiting.join(', ')}`,
    })
  return { object, algorithms: [...(wanted ?? suiting)] }
}

function publicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (error) {
    throw fail('ACCESS_INVALID', 'the key for tokens is not a public key', { detail: textOf(error), cause: error })
  }
}

const EC_ALGORITHMS: Readonly<Record<string, string>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }

function suitingAlgorithms({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string[] {
  if (asymmetricKeyType === 'rsa') return ['RS256', 'PS256', 'RS384', 'PS384', 'RS512', 'PS512']
  if (asymmetricKeyType === 'ed25519') return ['EdDSA', 'Ed25519']
  const curve = EC_ALGORITHMS[asymmetricKeyDetails?.namedCurve ?? '']
  if (curve !== undefined) return [curve]
  throw fail('ACCESS_INVALID', `a key of type ${asymmetricKeyType} verifies no tokens`)
}
