// How many requests a client may send: a bucket of tokens per client, filled at a steady rate. Own code, because what there is in packages
// awaits several promises for each request, and a row is answered without any.
import { fail } from '../../core/index.ts'

/** Clients whose bucket is kept. With more, those that are full again go; then all. */
const CLIENTS_MAX = 50_000

interface Bucket {
  tokens: number
  atMs: number
}

export class RateLimit {
  readonly #perSecond: number
  readonly #nowMs: () => number
  readonly #buckets = new Map<string, Bucket>()

  /** @param perSecond requests of one client; a burst of twice as many is let through · @param nowMs a monotone clock */
  constructor(perSecond: number, nowMs: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#nowMs = nowMs
  }

  get #burst(): number {
    return this.#perSecond * 2
  }

  /** @throws RATE_LIMITED saying after how many seconds there is room again */
  take(client: string): void {
    const nowMs = this.#nowMs()
    const bucket = this.#buckets.get(client) ?? this.#add(client, nowMs)
    bucket.tokens = Math.min(this.#burst, bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * this.#perSecond)
    bucket.atMs = nowMs
    if (bucket.tokens < 1) {
      const seconds = Math.ceil((1 - bucket.tokens) / this.#perSecond)
      throw fail('RATE_LIMITED', `a client may send ${this.#perSecond} requests in a second`, {
        data: { retryAfterSeconds: seconds },
      })
    }
    bucket.tokens--
  }

  #add(client: string, nowMs: number): Bucket {
    if (this.#buckets.size >= CLIENTS_MAX) this.#sweep(nowMs)
    const bucket = { tokens: this.#burst, atMs: nowMs }
    this.#buckets.set(client, bucket)
    return bucket
  }

  #sweep(nowMs: number): void {
    for (const [client, { tokens, atMs }] of this.#buckets)
      if (tokens + ((nowMs - atMs) / 1_000) * this.#perSecond >= this.#burst) this.#buckets.delete(client)
    if (this.#buckets.size >= CLIENTS_MAX) this.#buckets.clear()
  }
}
