// An application with its HTTP server: its first line is the URL; asked, it says what it took, and it ends when its stdin does.
import { openApplication } from '../../bin/open-application.ts'
import ordersApp from '../replay/orders-app.ts'
import subscribersApp from './subscribers-app.ts'
import { tellUsage } from './usage.ts'

export const APPS = { orders: ordersApp, subscribers: subscribersApp } as const

export interface ServerTold {
  readonly app: keyof typeof APPS
  readonly dataDir: string
  readonly shards?: number
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
  await tellUsage()
}
