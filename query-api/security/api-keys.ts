// API keys: made, kept in a file by their hash, found again by what a client sends. A key has 256 random bits, so one SHA-256 of it is all
// that hides it: slow hashes such as bcrypt are for passwords, which can be guessed, and would cost each new client tens of milliseconds.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { fail, textOf } from '../../core/index.ts'
import { checkScopes } from './scopes.ts'
import { type Claims, Viewer } from './viewer.ts'

const storedKey = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  name: z.string().min(1).max(100),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  scopes: z.array(z.string()),
  claims: z.record(z.string(), z.unknown()),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().nullable(),
  revokedAt: z.iso.datetime().nullable(),
})
const keyFile = z.strictObject({ version: z.literal(1), keys: z.array(storedKey) })

/** A key as its file has it; the key itself is nowhere. */
export type StoredKey = z.output<typeof storedKey>

export interface KeyRequest {
  /** Who it is for. */
  readonly name: string
  readonly scopes: readonly string[]
  /** What policies of views look at, beside `sub`, which is the name. */
  readonly claims?: Claims
  /** Undefined: it does not expire. */
  readonly expiresAt?: Date
}

const FORM = /^mk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/

/** Whether a text has the form of an API key. */
export const isApiKey = (text: string): boolean => FORM.test(text)

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest()

/** Reads a file of keys. @throws ACCESS_INVALID where there is none, or where it is not one */
export async function readKeys(path: string): Promise<readonly StoredKey[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw fail('ACCESS_INVALID', `the file of API keys ${path} cannot be read`, {
      detail: textOf(error),
      hint: `make the first one with: mainstem keys create NAME --scope 'view:*' --keys ${path}`,
      cause: error,
    })
  }
  return keysOf(text, path)
}

function keysOf(text: string, path: string): readonly StoredKey[] {
  try {
    const { keys } = keyFile.parse(JSON.parse(text))
    for (const { scopes } of keys) checkScopes(scopes)
    return keys
  } catch (error) {
    throw fail('ACCESS_INVALID', `${path} is not a file of API keys`, { detail: textOf(error), cause: error })
  }
}

/** The keys there are; none where there is no file yet. @throws ACCESS_INVALID */
export async function listKeys(path: string): Promise<readonly StoredKey[]> {
  try {
    await readFile(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
  }
  return readKeys(path)
}

/** Adds a key, and gives its text: nobody can have it again. @throws ACCESS_INVALID */
export async function createKey(
  path: string,
  request: KeyRequest,
): Promise<{ readonly key: string; readonly stored: StoredKey }> {
  const keys = await listKeys(path)
  if (request.scopes.length === 0)
    throw fail('ACCESS_INVALID', 'a key without scopes can do nothing', {
      hint: "give it --scope 'view:*', for example",
    })
  if (keys.some(({ name, revokedAt }) => name === request.name && revokedAt === null))
    throw fail('ACCESS_INVALID', `there is a key named '${request.name}' already`, {
      hint: 'take another name, or revoke it',
    })
  const id = randomBytes(8).toString('hex')
  const key = `mk_${id}_${randomBytes(32).toString('base64url')}`
  const stored = storedKey.parse({
    id,
    name: request.name,
    sha256: hashOf(key).toString('hex'),
    scopes: checkScopes(request.scopes),
    claims: request.claims ?? {},
    createdAt: new Date().toISOString(),
    expiresAt: request.expiresAt?.toISOString() ?? null,
    revokedAt: null,
  })
  await writeKeys(path, [...keys, stored])
  return { key, stored }
}

/** Takes a key back, by its name or id. @throws ACCESS_INVALID where there is none */
export async function revokeKey(path: string, nameOrId: string): Promise<StoredKey> {
  const keys = await readKeys(path)
  const found = keys.find(({ id, name, revokedAt }) => revokedAt === null && (id === nameOrId || name === nameOrId))
  if (!found)
    throw fail('ACCESS_INVALID', `there is no key '${nameOrId.slice(0, 100)}' to revoke`, {
      hint: 'mainstem keys list shows those there are',
    })
  const revoked = { ...found, revokedAt: new Date().toISOString() }
  await writeKeys(
    path,
    keys.map(key => (key === found ? revoked : key)),
  )
  return revoked
}

/** Whole or not at all, and for its owner only. */
async function writeKeys(path: string, keys: readonly StoredKey[]): Promise<void> {
  const next = `${path}.${process.pid}.tmp`
  try {
    await writeFile(next, `${JSON.stringify({ version: 1, keys }, null, 2)}\n`, { mode: 0o600, flush: true })
    await rename(next, path)
  } catch (error) {
    throw fail('ACCESS_INVALID', `the file of API keys ${path} cannot be written`, {
      detail: textOf(error),
      cause: error,
    })
  }
}

interface KnownKey {
  readonly stored: StoredKey
  readonly hash: Buffer
  /** Who has sent it; undefined: nobody yet. */
  viewer: Viewer | undefined
}

/** Keys by what clients send. */
export class ApiKeys {
  readonly #keys: ReadonlyMap<string, KnownKey>

  constructor(keys: readonly StoredKey[]) {
    this.#keys = new Map(
      keys.map(stored => [stored.id, { stored, hash: Buffer.from(stored.sha256, 'hex'), viewer: undefined }]),
    )
  }

  /** Others are in their place now: whoever has a key that is no longer there, or no longer the same, is told where it is connected. */
  replacedBy(keys: ApiKeys): void {
    for (const [id, { stored, viewer }] of this.#keys) {
      if (!viewer) continue
      const next = keys.#keys.get(id)
      if (next && isDeepStrictEqual(next.stored, stored)) next.viewer = viewer
      else viewer.end(next?.stored.revokedAt ? 'the API key was revoked' : 'the API key has changed')
    }
  }

  /** @throws UNAUTHENTICATED: not known, revoked or expired */
  viewer(text: string, nowMs: number): Viewer {
    const known = this.#keys.get(FORM.exec(text)?.[1] ?? '')
    // The hashes are compared whole, so that time tells nothing of where they differ.
    if (!known || !timingSafeEqual(hashOf(text), known.hash)) throw fail('UNAUTHENTICATED', 'the API key is not known')
    const { name, scopes, claims, expiresAt, revokedAt } = known.stored
    if (revokedAt !== null) throw fail('UNAUTHENTICATED', 'the API key was revoked', { detail: `at ${revokedAt}` })
    const expiresMs = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt)
    if (nowMs >= expiresMs) throw fail('UNAUTHENTICATED', 'the API key has expired', { detail: `at ${expiresAt}` })
    known.viewer ??= new Viewer(`key:${name}`, scopes, { ...claims, sub: name }, expiresMs)
    return known.viewer
  }
}
