// Which commands there are: each entry adds its own to the program. `help` lists them in this order.
import type { Command } from 'commander'
import { addActions } from './actions.ts'
import { addAudit } from './audit.ts'
import { addClientCommands } from './client-commands.ts'
import { addCommand } from './command.ts'
import { addDeadLetters } from './dead-letters.ts'
import { addFold } from './fold.ts'
import { addInit } from './init.ts'
import { addKeys } from './keys.ts'
import { addLogCommands } from './log/index.ts'
import { addParked } from './parked.ts'
import { addExport, addLineage } from './past.ts'
import { addRange } from './range.ts'
import { addReplay } from './replay.ts'
import { addRun } from './run.ts'
import { addSavepoint } from './savepoint.ts'
import { addSnapshot } from './snapshot.ts'
import { addSourcesDrop } from './sources-drop.ts'
import { addVerify } from './verify.ts'
import { addWatch } from './watch.ts'

/** `drop` stands below `sources`. */
function addSourcesCommands(program: Command): void {
  const sources = program.commands.find(command => command.name() === 'sources')
  if (sources) addSourcesDrop(sources)
}

export const COMMANDS: readonly ((program: Command) => void)[] = [
  addRun,
  addFold,
  addClientCommands,
  addRange,
  addWatch,
  addCommand,
  addParked,
  addLineage,
  addExport,
  addDeadLetters,
  addVerify,
  addAudit,
  addReplay,
  addSavepoint,
  addSnapshot,
  addLogCommands,
  addSourcesCommands,
  addKeys,
  addActions,
  addInit,
]
