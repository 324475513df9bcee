import { defineConfig } from 'vitest/config'

// `unit` and `simulation` need no service, `integration` runs against real PostgreSQL servers. Processes, not threads, because of
// native addons (lmdb). A file of the latter two has one of its own, with which its servers end; unit files share one per worker,
// since loading all modules anew for each of them took as long as half of their tests. The limits of time are for what hangs: two
// slow cores need a third of them.
const SIMULATIONS = 'test/**/*.sim.test.ts'

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    expect: { poll: { timeout: 30_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.integration.test.ts', SIMULATIONS],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      // They put clocks of their own in the place of the process's, which others have put something around.
      { extends: true, test: { name: 'simulation', include: [SIMULATIONS] } },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/**/*.integration.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
