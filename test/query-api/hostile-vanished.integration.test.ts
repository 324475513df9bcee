// Clients that vanish: no FIN, no reset, nothing, as where a cable is pulled or a machine loses its power. Seen from the server's side.
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { repeatingIn } from '../../query-api/subscriptions/peers.ts'

/** Whether this user may have networks of its own. */
const isPossible =
  process.platform === 'linux' &&
  spawnSync('unshare', ['-n', 'sh', '-c', 'ip link add here type veth peer name there && nsenter --version']).status ===
    0
const why = isPossible ? '' : ' (needs root on Linux, and iproute2 and util-linux)'

test.skipIf(!isPossible)(`the server drops clients that vanish, and goes on for all others${why}`, async () => {
  const script = join(import.meta.dirname, 'vanishing.ts')
  const { stdout } = await promisify(execFile)('unshare', ['-n', process.execPath, script])
  const { answered, ...seen } = JSON.parse(stdout.trim().split('\n').at(-1)!)
  expect(seen).toMatchObject({
    left: { connections: 0, subscriptions: 0, waiting: 0 },
    internalErrors: 0,
  })
  expect(answered).toBe(seen.changes)
})

test('what the kernel says of connections is read as it is meant', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1B9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4417 1 0 100 0 0 10 0
   1: 0100007F:1B9E 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4420 1 0 20 4 30 10 -1
   2: 010200C0:1B9E 020200C0:9C40 01 0000021A:00000000 01:00000123 00000007     0        0 4421 2 0 20 4 30 10 -1
10000: 010200C0:1B9E 020200C0:9C41 01 00000000:00000000 04:00000123 00000000     0        3 4422 2 0 20 4 30 10 -1
   4: B80D01200000000000000000 garbage
   5: 00000000000000000000000001000000:1B9E 0000000000000000FFFF0000020200C0:9C42 01 0000021A:00000000 01:00000123 00000001     0        0 9 2 0
   6: B80D0120000000000000000001000000:1B9E B80D0120000000000000000002000000:9C43 01 0000021A:00000000 01:00000123 0000000A     0        0 9 2 0
`
  expect(repeatingIn(table)).toEqual([
    { name: '7070 192.0.2.2 40000', repeats: 7 },
    { name: '7070 192.0.2.2 40001', repeats: 3 },
    { name: '7070 ::ffff:192.0.2.2 40002', repeats: 1 },
    { name: '7070 2001:db8::2 40003', repeats: 10 },
  ])
})
