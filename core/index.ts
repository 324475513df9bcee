// The public face of core: contracts, the log, state, and the port that sources implement.
export * from './change/index.ts'
export { type Channel, channelPair, portChannel, type Schedule } from './channel.ts'
export * from './contract/index.ts'
export * from './errors.ts'
export { Job, type JobContext, type JobStatus } from './job.ts'
export * from './log/index.ts'
export * from './purity.ts'
export * from './state/index.ts'
