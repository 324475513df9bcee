// The list of actions in the OpenAPI document.

import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { json, type Paths, problems, ref, whole } from './openapi-parts.ts'

export const actionPaths = (): Paths => ({
  '/v1/actions': {
    get: {
      operationId: 'listActions',
      summary: 'What operators did over this API, newest first',
      tags: ['operations'],
      parameters: [
        whole('before', '`next` of the page before', { minimum: 1 }),
        whole('limit', 'Most actions to give', { minimum: 1, maximum: LOG_PAGE_MAX, default: LOG_PAGE_DEFAULT }),
      ],
      responses: { 200: json(ref('Actions'), 'The actions'), ...problems(400) },
    },
  },
})

export const ACTION_SCHEMAS = {
  Actions: {
    type: 'object',
    properties: {
      actions: { type: 'array', items: { $ref: '#/components/schemas/Action' } },
      next: { type: ['string', 'null'], description: '`before` of the next page; null where there are no older ones' },
    },
    required: ['actions', 'next'],
  },
  Action: {
    type: 'object',
    properties: {
      position: { type: 'string' },
      at: { type: 'string', format: 'date-time', description: "The record's append time" },
      who: { type: 'string', description: '`key:NAME`, `jwt:SUBJECT`, or `anybody` where nobody is asked' },
      address: { type: 'string' },
      action: { type: 'string', description: 'The verb of the scope: replay, savepoint' },
      call: { type: 'string', description: 'Method and path' },
      about: { description: 'What the body named; null where that is nothing' },
      status: { type: 'integer' },
      code: { type: ['string', 'null'], description: 'Of the error that it ended with' },
    },
    required: ['position', 'at', 'who', 'address', 'action', 'call', 'about', 'status', 'code'],
  },
} as const
