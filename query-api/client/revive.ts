// Values as handlers have them, out of JSON: the header `mainstem-types` says at which paths a string stands for a bigint, a
// date or bytes, and a list for a map. What it says is read once per header into a tree, which is walked along each value.
// A path: names with dots between, `[]` for the elements of a list, `{}` for the values of a record, `[0]` and `[1]` for the keys and
// values of a map; in names `\` stands before each of `\.[]{}`, and an empty name is `\e`.

type Scalar = 'int64' | 'date-time' | 'base64'

interface Node {
  scalar?: Scalar
  /** It is a map: the keys' node stands at `[0]`, the values' at `[1]`. */
  map?: true
  /** By a part of a path: `.name`, `[]`, `{}`, `[0]`, `[1]`. */
  readonly parts: Map<string, Node>
}

export type Reviver = (value: unknown) => unknown

const asItIs: Reviver = value => value

/** @param types by path, as the header has them; undefined where there is nothing to revive */
export function reviverOf(types: Readonly<Record<string, string>> | undefined): Reviver {
  if (types === undefined || Object.keys(types).length === 0) return asItIs
  const root: Node = { parts: new Map() }
  for (const [path, type] of Object.entries(types)) {
    const node = nodeAt(root, path)
    if (type === 'map') node.map = true
    else if (type === 'int64' || type === 'date-time' || type === 'base64') node.scalar = type
  }
  return value => revived(root, value)
}

const PART = /\[\]|\{\}|\[0\]|\[1\]|\.?((?:\\.|[^\\.[\]{}])+)/gs

function nodeAt(root: Node, path: string): Node {
  let node = root
  for (const [part, name] of path.matchAll(PART)) {
    const key = name === undefined ? part : `.${name === '\\e' ? '' : name.replace(/\\(.)/gs, '$1')}`
    let next = node.parts.get(key)
    if (!next) {
      next = { parts: new Map() }
      node.parts.set(key, next)
    }
    node = next
  }
  return node
}

function revived(node: Node, value: unknown): unknown {
  if (value === null || value === undefined) return value
  if (node.scalar !== undefined) return scalarOf(node.scalar, value)
  if (Array.isArray(value)) {
    if (node.map) return mapOf(node, value)
    const element = node.parts.get('[]')
    return element ? value.map(item => revived(element, item)) : value
  }
  if (typeof value !== 'object') return value
  const object = value as Record<string, unknown>
  const each = node.parts.get('{}')
  if (each) for (const name of Object.keys(object)) replace(object, name, each)
  else
    for (const [part, next] of node.parts) {
      const name = part.slice(1)
      if (Object.hasOwn(object, name)) replace(object, name, next)
    }
  return object
}

/** Not by assignment: a field may have the name `__proto__`. */
function replace(object: Record<string, unknown>, name: string, node: Node): void {
  const value = revived(node, object[name])
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

function mapOf(node: Node, pairs: readonly unknown[]): Map<unknown, unknown> {
  const keys = node.parts.get('[0]')
  const values = node.parts.get('[1]')
  const one = (node: Node | undefined, value: unknown) => (node ? revived(node, value) : value)
  return new Map(pairs.map(pair => [one(keys, (pair as unknown[])[0]), one(values, (pair as unknown[])[1])]))
}

function scalarOf(scalar: Scalar, value: unknown): unknown {
  switch (scalar) {
    case 'int64':
      return BigInt(value as string)
    case 'date-time':
      return new Date(value as string)
    case 'base64':
      return bytesOf(value as string)
  }
}

/** Bytes of base64, in either alphabet. */
export const bytesOf = (text: string): Uint8Array =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), char => char.charCodeAt(0))

/** What JSON carries, of whatever a record may hold. */
export function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Uint8Array) return base64Of(value)
  if (value instanceof Map) return [...value].map(([key, item]) => [toJson(key), toJson(item)])
  if (Array.isArray(value)) return value.map(toJson)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, toJson(item)]))
}

export function base64Of(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}
