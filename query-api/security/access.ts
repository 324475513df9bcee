// Who a client is, from what it sends as `Authorization: Bearer …`: an API key or a JSON Web Token. What was found out is remembered by the
// credential's text, so that a client is verified once and then looked up.
import { unwatchFile, watchFile } from 'node:fs'
import { fail } from '../../core/index.ts'
import { ApiKeys, isApiKey, readKeys } from './api-keys.ts'
import { type JwtOptions, Jwts } from './jwt.ts'
import type { Viewer } from './viewer.ts'

/** How clients are known; at least one of them. */
export interface AccessOptions {
  /** File of API keys, as `mainstem keys` keeps it. It is read again when it changes. */
  readonly keysFile?: string
  readonly jwt?: JwtOptions
  /** Told when the changed file of keys cannot be read: those known before go on being known. */
  readonly onKeysFailed?: (error: unknown) => void
}

/** Credentials remembered; with one more all are forgotten, and verified anew. */
const REMEMBERED_MAX = 10_000
/** How often it is looked whether the file of keys has changed, milliseconds. */
const KEYS_POLL_MS = 500
/** A request's head may be longer; no token needs so much. */
const CREDENTIAL_CHARS_MAX = 8_192

export class Access {
  #keys: ApiKeys | undefined
  readonly #jwts: Jwts | undefined
  readonly #keysFile: string | undefined
  readonly #onKeysFailed: (error: unknown) => void
  // A Map compares texts only where their seeded hashes are equal: its time tells nothing of a credential that is not known.
  readonly #known = new Map<string, Viewer>()

  private constructor(
    { keysFile, onKeysFailed = () => {} }: AccessOptions,
    keys: ApiKeys | undefined,
    jwts: Jwts | undefined,
  ) {
    this.#keysFile = keysFile
    this.#onKeysFailed = onKeysFailed
    this.#keys = keys
    this.#jwts = jwts
    if (keysFile === undefined) return
    watchFile(keysFile, { interval: KEYS_POLL_MS, persistent: false }, this.#reload)
  }

  /** @throws ACCESS_INVALID */
  static async open(options: AccessOptions): Promise<Access> {
    const { keysFile, jwt } = options
    if (keysFile === undefined && jwt === undefined)
      throw fail('ACCESS_INVALID', 'clients are to be known, but not by what', {
        hint: 'give a file of API keys, or a JWT issuer',
      })
    const keys = keysFile === undefined ? undefined : new ApiKeys(await readKeys(keysFile))
    return new Access(options, keys, jwt && Jwts.open(jwt))
  }

  /** At once where the credential is remembered. @throws UNAUTHENTICATED, AUTH_UNAVAILABLE */
  viewer(authorization: string | undefined): Viewer | Promise<Viewer> {
    if (authorization === undefined)
      throw fail('UNAUTHENTICATED', 'this call needs an API key or a token', {
        hint: 'send it as Authorization: Bearer …; the command line takes it from MAINSTEM_TOKEN',
      })
    const known = this.#known.get(authorization)
    const nowMs = Date.now()
    if (known) {
      if (nowMs < known.expiresMs) return known
      this.#known.delete(authorization)
    }
    const [, text] = /^Bearer +([\x21-\x7e]+)$/i.exec(authorization) ?? []
    if (text === undefined || text.length > CREDENTIAL_CHARS_MAX)
      throw fail('UNAUTHENTICATED', 'the Authorization header is not one of a bearer', {
        hint: 'send Authorization: Bearer …',
      })
    if (isApiKey(text) && this.#keys) return this.#remember(authorization, this.#keys.viewer(text, nowMs))
    if (this.#jwts) return this.#jwts.viewer(text).then(viewer => this.#remember(authorization, viewer))
    throw fail('UNAUTHENTICATED', 'the API key is not known')
  }

  #remember(authorization: string, viewer: Viewer): Viewer {
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear()
    this.#known.set(authorization, viewer)
    return viewer
  }

  readonly #reload = async (): Promise<void> => {
    try {
      const keys = new ApiKeys(await readKeys(this.#keysFile ?? ''))
      this.#keys?.replacedBy(keys)
      this.#keys = keys
      this.#known.clear()
    } catch (error) {
      this.#onKeysFailed(error)
    }
  }

  close(): void {
    if (this.#keysFile !== undefined) unwatchFile(this.#keysFile, this.#reload)
  }
}
