// What one message of a server may take: a row, or a change of one, is held in memory while it is decoded.
import { fail, type MainstemError } from '../../core/index.ts'

const MIB = 1024 * 1024
const MIB_DEFAULT = 256
/** A text of one value must fit into a string, which ends below 512 MiB. */
const MIB_MAX = 500

/** @throws DEFINITION_INVALID */
export function messageBytesOf(source: string, mib = MIB_DEFAULT): number {
  if (Number.isInteger(mib) && mib >= 1 && mib <= MIB_MAX) return mib * MIB
  throw fail('DEFINITION_INVALID', `messageMiBMax of source ${source} is ${mib}`, { hint: `take 1 to ${MIB_MAX}` })
}

export const valueTooLarge = (bytesMax: number): MainstemError =>
  fail('SOURCE_VALUE_TOO_LARGE', `the server sends a row or event of more than ${Math.floor(bytesMax / MIB)} MiB`, {
    detail: 'a change is held in memory while it is decoded, so there is a limit',
    hint: `keep such values out of the captured tables, or raise \`messageMiBMax\` of the source (at most ${MIB_MAX})`,
  })
