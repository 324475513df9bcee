// `mainstem log …`: looking into the log, checking it, taking it elsewhere.
import type { Command } from 'commander'
import { addCompact, addTrim } from './clean.ts'
import { addExport } from './export.ts'
import { addImport } from './import.ts'
import { addInspect } from './inspect.ts'
import { addTail } from './tail.ts'
import { addTopics } from './topics.ts'
import { addVerify } from './verify.ts'

export function addLogCommands(program: Command): void {
  const log = program
    .command('log')
    .description('look into the log; verify, trim, compact, export and import it')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem log tail shop.orders --follow\n  mainstem log verify --data-dir .mainstem/truth',
    )
  for (const add of [addTopics, addTail, addInspect, addVerify, addTrim, addCompact, addExport, addImport]) add(log)
}
