// Row images of one table as its row events hold them: where each column's value lies. The walk over an image that has all
// columns is generated code; images without some of them (binlog_row_image MINIMAL, NOBLOB) take the general way.

import { fail } from '../../core/index.ts'
import { type Image, NULL, UNCHANGED, VALUE } from '../connector/image.ts'
import { type Layout, layoutOf } from './stored-values.ts'
import type { StoredColumn } from './table-map.ts'

/** Reads an image that has all columns; gives the place behind it. */
type Walk = (bytes: Buffer, at: number, image: Image) => number

export class ImageReader {
  readonly #layouts: readonly Layout[]
  readonly #walk: Walk

  /** @throws SOURCE_PROTOCOL where a column's type is not known: what comes after it could not be found */
  constructor(table: string, columns: readonly StoredColumn[]) {
    this.#layouts = columns.map(column => {
      const layout = layoutOf(column)
      if (layout) return layout
      throw fail('SOURCE_PROTOCOL', `rows of ${table} cannot be read`, {
        detail: `column ${column.name} is stored as type ${column.type}, which is not known here`,
      })
    })
    this.#walk = generate(this.#layouts)
  }

  get count(): number {
    return this.#layouts.length
  }

  /** @param present where the bits begin that say which columns the image has */
  read(bytes: Buffer, at: number, present: number, image: Image): number {
    image.bytes = bytes
    image.count = this.#layouts.length
    image.reserve(image.count)
    return this.isWhole(bytes, present) ? this.#walk(bytes, at, image) : this.#readPart(bytes, at, present, image)
  }

  /** Whether the image has all columns. */
  isWhole(bytes: Buffer, present: number): boolean {
    const count = this.#layouts.length
    const whole = count >> 3
    for (let n = 0; n < whole; n++) if (bytes[present + n] !== 0xff) return false
    const rest = (1 << (count & 7)) - 1
    return rest === 0 || (bytes[present + whole]! & rest) === rest
  }

  #readPart(bytes: Buffer, at: number, present: number, image: Image): number {
    const layouts = this.#layouts
    let count = 0
    for (let n = 0; n < layouts.length; n++) if (isSet(bytes, present, n)) count++
    let place = at + ((count + 7) >> 3)
    let nth = 0
    for (const [n, layout] of layouts.entries()) {
      if (!isSet(bytes, present, n)) {
        image.kinds[n] = UNCHANGED
        continue
      }
      if (isSet(bytes, at, nth++)) {
        image.kinds[n] = NULL
        continue
      }
      image.kinds[n] = VALUE
      const length = 'bytes' in layout ? layout.bytes : bytes.readUIntLE(place, layout.prefix)
      if ('prefix' in layout) place += layout.prefix
      image.starts[n] = place
      place += length
      image.ends[n] = place
    }
    return place
  }
}

const isSet = (bytes: Buffer, at: number, n: number): boolean => ((bytes[at + (n >> 3)]! >> (n & 7)) & 1) === 1

function generate(layouts: readonly Layout[]): Walk {
  const bitmap = (layouts.length + 7) >> 3
  const lines = layouts.map((layout, n) => {
    const step =
      'bytes' in layout
        ? `s[${n}] = p; p += ${layout.bytes}; e[${n}] = p`
        : `const l${n} = ${lengthCode(layout.prefix)}; p += ${layout.prefix}; s[${n}] = p; p += l${n}; e[${n}] = p`
    return `if (b[at + ${n >> 3}] & ${1 << (n & 7)}) k[${n}] = ${NULL}; else { k[${n}] = ${VALUE}; ${step} }`
  })
  const body = `const k = image.kinds, s = image.starts, e = image.ends; let p = at + ${bitmap};\n${lines.join('\n')}\nreturn p`
  return new Function('b', 'at', 'image', body) as Walk
}

const lengthCode = (prefix: number): string =>
  ['b[p]', 'b[p + 1] * 256', 'b[p + 2] * 65536', 'b[p + 3] * 16777216'].slice(0, prefix).join(' + ')
