// An application with its HTTP server: its first line is the URL; it ends when its stdin does, and then says what it took.
import { openApplication } from '../../bin/open-application.ts'
import ordersApp from '../replay/orders-app.ts'
import subscribersApp from './subscribers-app.ts'

export const APPS = { orders: ordersApp, subscribers: subscribersApp } as const

export interface ServerTold {
  readonly app: keyof typeof APPS
  readonly dataDir: string
  readonly shards?: number
}

/** Of the whole process, when it has ended. */
export interface Took {
  readonly cpuSeconds: number
  readonly rss: number
}

if (import.meta.main) {
  const { app, dataDir, shards } = JSON.parse(process.argv[2] ?? '') as ServerTold
  await using running = await openApplication(APPS[app], {
    dataDir,
    listen: { port: 0 },
    ...(shards === undefined ? {} : { shards }),
  })
  await running.engine.waitFor(running.log.end, AbortSignal.timeout(300_000))
  process.stdout.write(`${running.url}\n`)
  await new Promise(resolve => process.stdin.once('end', resolve).resume())
  const { user, system } = process.cpuUsage()
  const took: Took = { cpuSeconds: (user + system) / 1e6, rss: process.memoryUsage.rss() }
  process.stdout.write(`${JSON.stringify(took)}\n`)
}
