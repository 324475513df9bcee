// The engine of one shard in the calling thread: rows are read at once, without a promise.
import { installPurityGuards, nodeFileSystem } from '../../core/index.ts'
import { sourcesByView } from '../application.ts'
import type { ShardCheckpoints } from '../checkpoint/member.ts'
import type { CutRead, LocalEngine, LocalView, RowRequest } from '../engine.ts'
import type { EngineOptions } from '../engine-options.ts'
import type { RangeRead, RangeRequest } from '../indexes/range-read.ts'
import { PastReads } from '../past/past-reads.ts'
import { Replayer } from '../replay/replayer.ts'
import { rowsNow } from '../rows-at-cut.ts'
import { unknownView } from '../unknown-view.ts'
import { type RefoldHost, Verifier } from '../verifier.ts'
import { Coordinator } from './coordinator.ts'
import { LocalReadView } from './live-view.ts'
import { LocalRanges } from './local-ranges.ts'
import { membershipOf } from './membership.ts'
import { realScheduler } from './scheduler.ts'
import { Shard } from './shard.ts'
import { SLICE_MS } from './slice-size.ts'

/** Opens the views of an application over its log: loads the last checkpoint and begins to fold. @throws DEFINITION_INVALID, VIEW_CANNOT_CONTINUE */
export async function openEngine(options: EngineOptions): Promise<LocalEngine> {
  installPurityGuards()
  const { log, parts, stateBytesMax, scheduler = realScheduler, sliceMs = SLICE_MS } = options
  const coordinator = new LocalCoordinator(options, new Shard({ log, parts, stateBytesMax, scheduler, sliceMs }))
  await coordinator.open()
  return coordinator
}

class LocalCoordinator extends Coordinator implements LocalEngine {
  override readonly views: ReadonlyMap<string, LocalView>
  override readonly verifier: Verifier
  override readonly replayer: Replayer
  override readonly past: PastReads
  readonly #member: ShardCheckpoints
  readonly #ranges: LocalRanges

  constructor(options: EngineOptions, shard: Shard) {
    const {
      log,
      parts,
      path,
      fingerprint,
      fs = nodeFileSystem,
      scheduler = realScheduler,
      sliceMs = SLICE_MS,
    } = options
    const member = membershipOf(shard, { fs, folder: path, logId: log.id, shard: 0, scheduler, sliceMs })
    super({ options, folding: shard, members: [member], room: () => member.room() })
    this.#member = member
    this.#ranges = new LocalRanges(shard, scheduler)
    const sources = sourcesByView(parts)
    this.views = new Map(
      shard.views.map(view => [view.name, new LocalReadView(view, sources.get(view.name) ?? [], fingerprint, this)]),
    )
    const host: RefoldHost = {
      log,
      parts,
      folded: shard.views,
      memory: shard.memory,
      scheduler,
      sliceMs,
      waitFor: (position, signal) => this.waitFor(position, signal),
      async rowsAtCut(views, _refolded, _turns, atCut) {
        while (shard.inTransaction) await shard.cut()
        atCut()
        return { position: shard.position, rows: rowsNow(views) }
      },
    }
    this.verifier = new Verifier(host)
    const places = this.placesInPast(shard.views)
    const { fs: files, bases } = places
    this.replayer = new Replayer({ ...host, fs: files, bases, ...this.exchange() })
    this.past = new PastReads({
      ...host,
      ...places,
      rowsHere: true,
      get position() {
        return shard.position
      },
      whenAtCut: begin => this.whenAtCut(begin),
      openOrder: (view, range) => [this.#ranges.open(view, range)],
    })
  }

  override async stop(): Promise<void> {
    await super.stop()
    await this.#member.close()
  }

  override range(request: RangeRequest): RangeRead | Promise<RangeRead> {
    const live = this.views.get(request.view)
    if (!live) throw unknownView(request.view, this.views.keys())
    return this.#ranges.read(live, request)
  }

  override read(requests: readonly RowRequest[]): CutRead {
    let final = true
    const rows = requests.map(({ view, key }) => {
      const live = this.views.get(view)
      if (!live) throw unknownView(view, this.views.keys())
      final &&= live.final
      return live.get(key)
    })
    return { position: this.position, rows, final }
  }
}
