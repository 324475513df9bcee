// The keys of a view, as its definition declares them.
import { describe, KeyCodec } from '../core/index.ts'
import type { ProjectionDefinition } from './projection.ts'

export function keyCodecOf(definition: ProjectionDefinition): KeyCodec {
  const type = describe(definition.spec.key, 'output', `${definition.name}.key`)
  return type.kind === 'object'
    ? new KeyCodec(type.fields, false, definition.name)
    : new KeyCodec([{ name: 'key', type }], true, definition.name)
}
