// Removes what a source keeps on its server, so that an abandoned slot cannot fill the primary's disk.
import type { DropReport } from '../../core/index.ts'
import { connect, connectionError, type PostgresTarget } from './connection.ts'
import { dropPublication } from './publication.ts'
import { dropSlot } from './slot.ts'

/** @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION, SOURCE_SLOT_IN_USE, SOURCE_PERMISSION */
export async function dropFromServer(
  source: string,
  target: PostgresTarget,
  names: { readonly slot: string; readonly publication: string; readonly isPublicationOurs: boolean },
): Promise<DropReport> {
  const sql = await connect(target)
  try {
    const dropped: string[] = []
    if (await dropSlot(sql, source, names.slot, true)) dropped.push(`slot ${names.slot}`)
    const published = names.isPublicationOurs && (await dropPublication(sql, names.publication))
    if (published) dropped.push(`publication ${names.publication}`)
    return { source, dropped }
  } catch (error) {
    throw connectionError(source, error)
  } finally {
    await sql.end().catch(() => {})
  }
}
