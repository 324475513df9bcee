// The servers of this family that a test starts itself, each of which it is run against.
import { isMariadbMissing, type MariadbServer, openTestMariadb } from '../../support/mariadb.ts'
import { isMysqldMissing, openTestMysql } from '../../support/mysql.ts'

export interface ServerCase {
  readonly name: 'MariaDB' | 'MySQL'
  readonly isMissing: () => boolean
  readonly open: (settings?: Readonly<Record<string, string>>) => Promise<MariadbServer>
}

export const SERVERS: readonly ServerCase[] = [
  { name: 'MariaDB', isMissing: isMariadbMissing, open: openTestMariadb },
  { name: 'MySQL', isMissing: isMysqldMissing, open: openTestMysql },
]
