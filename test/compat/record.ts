// `node test/compat/record.ts`: writes the data folder of the format version that this code writes, once and for all. A folder
// that exists is never written again: it is what users have on their disks.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { writtenFolder } from './folder.ts'

const { disk, format, content } = await writtenFolder()
const folder = join(import.meta.dirname, String(format))
if (existsSync(folder)) throw new Error(`${folder} is there already, and stays as it is`)
mkdirSync(join(folder, 'log'), { recursive: true })
for (const path of disk.paths.filter(name => !name.endsWith('lock.json')))
  writeFileSync(join(folder, 'log', `${basename(path)}.gz`), gzipSync(disk.bytes(path), { level: 9 }))
writeFileSync(join(folder, 'expected.json.gz'), gzipSync(JSON.stringify(content), { level: 9 }))
