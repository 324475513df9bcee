import { defineConfig } from 'vitest/config'

// Two tiers: `unit` needs no service, `integration` runs against real PostgreSQL servers. Simulations count as unit
// tests: they print their seed and need nothing either. Processes, not threads, because of native addons (lmdb). An integration
// file has one of its own, with which its servers end; unit files share one per worker, since loading all modules anew for
// each of them took as long as half of their tests. The limits of time are for what hangs: two slow cores need a third of them.
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
          exclude: ['test/**/*.integration.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
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
