// The application with its HTTP server: its first line is the URL; it ends when its stdin does, and then says what it took.
import { openApplication } from '../../bin/open-application.ts'
import app from './subscribers-app.ts'

const { dataDir, shards } = JSON.parse(process.argv[2] ?? '') as { dataDir: string; shards?: number }
await using running = await openApplication(app, {
  dataDir,
  listen: { port: 0 },
  ...(shards === undefined ? {} : { shards }),
})
process.stdout.write(`${running.url}\n`)
await new Promise(resolve => process.stdin.once('end', resolve).resume())
const { user, system } = process.cpuUsage()
process.stdout.write(`${JSON.stringify({ cpuSeconds: (user + system) / 1e6, rss: process.memoryUsage.rss() })}\n`)
