export type { CommandKey } from './command-keys.ts'
export { type CommandRequest, Commands, type CommandsOptions, type Decided, type OpenDecider } from './commands.ts'
export {
  type AnyDecider,
  type CommandsOf,
  type DecideContext,
  type Decider,
  type DeciderDecide,
  type DeciderEvolve,
  type DeciderSpec,
  decider,
  type Refusal,
} from './decider.ts'
export { DeciderDefinition, isDecider } from './definition.ts'
export type { StateBytes, StateFold } from './states.ts'
