// A record of a contract as bytes of its own, outside of the log: the number of its variant, then the variant's row.
import type { ByteReader, ByteWriter } from './bytes.ts'
import { createRowCodec } from './row-codec.ts'
import type { Contract } from './topic.ts'
import type { AnyRow } from './values.ts'

export interface RecordCodec {
  /** @throws RECORD_REFUSED; nothing is written then */
  encode(writer: ByteWriter, record: AnyRow): void
  decode(reader: ByteReader): AnyRow
}

export function createRecordCodec({ variants, variantOf }: Contract): RecordCodec {
  const codecs = variants.map(({ type }) => createRowCodec(type))
  return {
    encode(writer, record) {
      const variant = variantOf(record)
      const start = writer.at
      writer.varint(variant)
      try {
        codecs[variant]!.encode(writer, record)
      } catch (error) {
        writer.at = start
        throw error
      }
    },
    decode: reader => codecs[reader.below(codecs.length)]!.decode(reader),
  }
}
