package peers;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.util.Collector;

/** Adds events to the totals of their keys. Emits nothing: who wants to read the state pays for that on top. */
final class Fold<K, E, S extends Total<? super E>> extends Keyed<K, E, S, Void> {
  private static final long serialVersionUID = 1;
  /** Events between two words to the meter. */
  private static final int STEP = 1024;

  private final boolean measuresHeap;
  private transient int untold;

  Fold(TypeInformation<S> type, Format.Maker<S> maker, boolean measuresHeap) {
    super(type, maker);
    this.measuresHeap = measuresHeap;
  }

  @Override
  public void open(OpenContext context) {
    super.open(context);
    if (measuresHeap) Heap.begin();
  }

  @Override
  public void processElement(E event, Context context, Collector<Void> out) throws Exception {
    S total = state.value();
    if (total == null) total = newTotal();
    total.add(event);
    if (total.nothingLeft()) state.clear();
    else state.update(total);
    untold += total.eventsIn(event);
    if (untold >= STEP) tell();
  }

  private void tell() {
    FlinkPeer.meter.processed(untold);
    untold = 0;
  }

  @Override
  void end() {
    if (untold > 0) tell();
    Heap.end();
  }
}
