// Commands as callers give them: by name, of their schema's input; what is not one is refused before anything is done.
import { type AnyRow, compileParser, issuesText, type Parser } from '../contract/index.ts'
import { fail } from '../errors.ts'
import type { DeciderDefinition } from './definition.ts'

/** @throws COMMAND_INVALID */
export type CommandParser = (type: string, command: unknown) => AnyRow

export function commandParser({ name, spec }: DeciderDefinition): CommandParser {
  const parsers = new Map<string, Parser>(
    Object.entries(spec.commands).map(([type, schema]) => [
      type,
      compileParser(schema, type, (_, error) =>
        fail('COMMAND_INVALID', `a command ${type} of ${name} is not of its schema`, { detail: issuesText(error) }),
      ),
    ]),
  )
  return (type, command) => {
    const parse = parsers.get(type)
    if (parse) return parse(command)
    throw fail('COMMAND_INVALID', `${name} has no command '${type.slice(0, 100)}'`, {
      detail: `it has ${[...parsers.keys()].join(', ')}`,
    })
  }
}
