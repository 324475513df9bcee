// The stored form of a contract's rows, by variant.
import { type AnyRow, type Contract, createRowCodec, type RowCodec, type Variant } from '../../core/index.ts'

const codecs = new WeakMap<Variant, RowCodec>()

/** The codec of the variant that the row is of. @throws RECORD_REFUSED */
export function codecOf({ variants, variantOf }: Contract, row: AnyRow): RowCodec {
  const variant = variants[variantOf(row)]!
  const codec = codecs.get(variant) ?? createRowCodec(variant.type)
  codecs.set(variant, codec)
  return codec
}
