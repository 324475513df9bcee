// A process whose disk fills: `node store-child.ts FOLDER` says when it wants its file size limited and when the limit lifted,
// and waits for a line each time.
import { createInterface } from 'node:readline'
import { isMainstemError, openTableStore } from '../../core/index.ts'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = async (text: string) => {
  process.stdout.write(`${text}\n`)
  await lines.next()
}

const store = openTableStore(process.argv[2] ?? '')
const key = (n: number) => Buffer.from([n >> 16, (n >> 8) & 255, n & 255])
const seen = () => [1, 2, 49_999].map(n => store.get('t', key(n))).join(' ')

store.put('t', key(1), Buffer.from('one'))
store.setMeta('position', 1)
await store.commit()
await say('limit')
for (let n = 2; n < 50_000; n++) store.put('t', key(n), Buffer.from(String(n)))
store.setMeta('position', 2)
const failed = store.commit()
store.put('t', key(2), Buffer.from('two'))
await say(
  await failed.then(
    () => 'committed',
    error => (isMainstemError(error) ? error.code : String(error)),
  ),
)
await say(`${seen()} position ${store.meta('position')}`)
await say('lift')
store.put('t', key(0), Buffer.from('zero'))
store.setMeta('position', 3)
await say(await store.commit().then(() => 'committed', String))
await say(`${seen()} position ${store.meta('position')}`)
await store.close()
process.exit(0)
