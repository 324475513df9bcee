// Where a subscription goes on: what the client has been told last, as the id of an event. Opaque to clients, readable for people:
//   s1.<logId>.<view>.<position>.<epoch>.<number>
// The number is that of a change among those of one ring, which the epoch names: it says exactly which changes of a transaction came.
// Another process has another ring, and of one that was let go nothing is known: then the position says how far the client was.
import { fail } from '../../core/index.ts'

export interface ResumeToken {
  readonly position: number
  readonly epoch: string
  readonly number: number
}

export const formatResumeToken = (logId: string, view: string, { position, epoch, number }: ResumeToken): string =>
  `s1.${logId}.${view}.${position}.${epoch}.${number}`

/** @throws TOKEN_MALFORMED, TOKEN_OTHER_LOG */
export function parseResumeToken(text: string, logId: string, view: string): ResumeToken {
  const parts = /^s1\.([^.]+)\.([^.]+)\.(\d{1,16})\.([0-9a-z]+)\.(\d{1,16})$/.exec(text)
  if (!parts) throw malformed(text)
  const [, id = '', name = '', position = '', epoch = '', number = ''] = parts
  if (id !== logId) {
    throw fail('TOKEN_OTHER_LOG', 'the event id is of another log', {
      detail: `it is of log ${id.slice(0, 100)}, this is log ${logId}`,
      hint: 'subscribe without it',
    })
  }
  if (name !== view) throw malformed(text, `it is of view '${name.slice(0, 100)}'`)
  return { position: whole(position, text), epoch, number: whole(number, text) }
}

const malformed = (text: string, detail?: string) =>
  fail('TOKEN_MALFORMED', `'${text.slice(0, 200)}' is no event id of this subscription`, {
    ...(detail === undefined ? {} : { detail }),
    hint: 'send the id of the last event that came, or none',
  })

function whole(digits: string, token: string): number {
  const value = Number(digits)
  if (!Number.isSafeInteger(value)) throw malformed(token)
  return value
}
