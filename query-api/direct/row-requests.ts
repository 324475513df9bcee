// Rows that are asked for on connections of the HTTP server, because something else was asked for on them before: answered in front of Fastify.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { ROW_HEADERS, type RowAnswer, type RowAnswers } from './row-answers.ts'

/** @param otherwise answers what is not answered here */
export function directRows(answers: RowAnswers, otherwise: RequestListener): RequestListener {
  const send = (answer: RowAnswer | undefined, request: IncomingMessage, response: ServerResponse): void => {
    if (answer === undefined) {
      otherwise(request, response)
      return
    }
    const { etag, types, body, ended } = answer
    if (ended) response.once('close', () => ended(response.statusCode))
    const head = [...ROW_HEADERS, 'etag', etag, 'content-length', String(Buffer.byteLength(body))]
    if (types !== undefined) head.push('mainstem-types', types)
    response.writeHead(200, head).end(body)
  }
  return (request, response) => {
    const { method, url: target = '', headers, socket } = request
    if (method !== 'GET' || headers['if-none-match'] !== undefined) {
      otherwise(request, response)
      return
    }
    const answer = answers.answer({ target, authorization: headers.authorization, address: socket.remoteAddress })
    if (answer instanceof Promise) void answer.then(known => send(known, request, response))
    else send(answer, request, response)
  }
}
