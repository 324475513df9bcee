// How much the log's proofs try: little in each test run, much in `npm run test:log`. One set of knobs for all of them:
// SEED, the first seed · SEEDS, runs beside the model · FUZZ, damages of each kind · CRASHES=n, crash at each nth operation.
const knob = (name: string): number | undefined => {
  const text = process.env[name]
  if (text === undefined || text === '') return undefined
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new Error(`${name}=${text}: expected a whole number from 1`)
}

const first = knob('SEED')

/** The first seed of each row of runs. */
export const FIRST_SEED = first ?? 1
/** Seeds of the model's runs; one where only `SEED` is given. */
export const modelSeeds = (usual: number): number => knob('SEEDS') ?? (first === undefined ? usual : 1)
/** Seeds of simulations, likewise. */
export const simulationSeeds = modelSeeds
/** Damages of one kind. */
export const damages = (usual: number): number => knob('FUZZ') ?? usual
/** From one crash or error to the next, in operations of the disk. */
export const crashStride = (usual: number): number => knob('CRASHES') ?? usual
