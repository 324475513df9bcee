export {
  type BinaryField,
  type BinaryLayout,
  type BinaryRowReader,
  type BinaryType,
  createBinaryRowReader,
} from './binary-row.ts'
export { ByteReader, ByteWriter, copyBytes, Span, sameBytes } from './bytes.ts'
export { defOf, describe, describeFields, type Field, isPlain, type ObjectType, type ValueType } from './describe.ts'
export type * from './input.ts'
export { createJsonRowReader, type JsonRowReader } from './json-row.ts'
export { daysOf, JsonText, TEXT_PADDING } from './json-text.ts'
export { KEY_BYTES_MAX, KeyCodec, type KeyColumn } from './key.ts'
export {
  formatMinorUnits,
  type MinorUnits,
  minorUnits,
  minorUnitsOf,
  parseMinorUnits,
  parseMinorUnitsBigint,
} from './minor-units.ts'
export { compileParser, issuesText, type Parser } from './parser.ts'
export { createRecordCodec, type RecordCodec } from './record-codec.ts'
export { checkRetain, days, hours, minutes, type Retain } from './retain.ts'
export { createRowCodec, createValueEncoder, type RowCodec } from './row-codec.ts'
export {
  createRowViewCode,
  type LateColumns,
  type RowSource,
  type RowView,
  type RowViewCode,
  RUN_ROWS_MAX,
  runAt,
  type TextColumn,
  type ViewField,
  type ViewSlot,
} from './row-view.ts'
export { env, readSetting, type Setting, secretFile } from './setting.ts'
export { isTagged, type TagFields, type TagOf, type TagValue, tagBytes, tagTypeIn } from './tags.ts'
export { type Contract, checkName, compileContract, type ObjectContract, topic } from './topic.ts'
export {
  type CompiledUpcast,
  type Upcast,
  type UpcastColumns,
  type UpcastData,
  type Upcaster,
  upcastable,
} from './upcast.ts'
export type * from './values.ts'
export {
  describeRecord,
  discriminatorOf,
  type RecordSchema,
  type RecordShape,
  type RecordType,
  shapeOf,
  type UnionType,
  type Variant,
} from './variants.ts'
export { fromWire, parseJson, toWire, wireSchema } from './wire.ts'
