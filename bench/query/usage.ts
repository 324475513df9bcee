// What a server of the bench takes: a line for each that it is told.

/** Of the whole process, so far. */
export interface Usage {
  readonly cpuSeconds: number
  /** Bytes in memory now. */
  readonly rss: number
}

export function usage(): Usage {
  const { user, system } = process.cpuUsage()
  return { cpuSeconds: (user + system) / 1e6, rss: process.memoryUsage.rss() }
}

/** Says what this process took each time that it is told something; resolves when its stdin ends. */
export function tellUsage(): Promise<void> {
  process.stdin.setEncoding('utf8').on('data', () => process.stdout.write(`${JSON.stringify(usage())}\n`))
  return new Promise(resolve => process.stdin.once('end', resolve))
}
