// A client of a subscription as browsers are one: it reads events, keeps the last id, and connects again with it.
import { type ServerEvent, serverEvents } from '../../query-api/client/event-stream.ts'

export interface Event {
  readonly event: string
  readonly id: string
  readonly data: Readonly<Record<string, unknown>>
}

export class TestSubscriber {
  readonly url: string
  readonly events: Event[] = []
  /** Rows by key as JSON: what the client knows. */
  readonly rows = new Map<string, unknown>()
  /** Id of the last event. */
  id = ''
  status = 0
  headers = new Headers()
  /** Resolves when the stream has ended. */
  ended: Promise<void> = Promise.resolve()
  #abort = new AbortController()
  #waiting: { readonly until: () => boolean; readonly resolve: () => void }[] = []

  constructor(url: string) {
    this.url = url
  }

  async connect(headers: Record<string, string> = this.id === '' ? {} : { 'last-event-id': this.id }): Promise<this> {
    this.#abort = new AbortController()
    const response = await fetch(this.url, { headers, signal: this.#abort.signal })
    this.status = response.status
    this.headers = response.headers
    if (response.status !== 200) throw Object.assign(new Error(), { problem: await response.json() })
    this.ended = this.#read(response).catch(() => {})
    return this
  }

  async #read({ body }: Response): Promise<void> {
    for await (const event of serverEvents(body!)) this.#take(event)
  }

  #take({ event, data, id = '' }: ServerEvent): void {
    const taken: Event = { event, id, data: JSON.parse(data) }
    this.events.push(taken)
    if (id !== '') this.id = id
    const key = JSON.stringify(taken.data['key'])
    if (event === 'reset') this.rows.clear()
    if (event === 'row') this.rows.set(key, taken.data['value'])
    if (event === 'gone') this.rows.delete(key)
    this.#waiting = this.#waiting.filter(({ until, resolve }) => {
      const isSo = until()
      if (isSo) resolve()
      return !isSo
    })
  }

  named(name: string): readonly Event[] {
    return this.events.filter(({ event }) => event === name)
  }

  /** Resolves when something holds; looked at with each event. */
  until(until: () => boolean): Promise<void> {
    if (until()) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push({ until, resolve }))
  }

  /** Resolves when it is told that all up to a position has come. */
  progressed(position: number): Promise<void> {
    return this.until(() =>
      this.events.some(({ event, data }) => event === 'progress' && Number(data['position']) >= position),
    )
  }

  async disconnect(): Promise<void> {
    this.#abort.abort()
    await this.ended
  }
}
