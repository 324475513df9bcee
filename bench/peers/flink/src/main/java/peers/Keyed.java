package peers;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.KeyedProcessOperator;

/** A function with a total per key, and the operator of it, which adds up all totals when the input has ended. */
abstract class Keyed<K, E, S extends Total<? super E>, O> extends KeyedProcessFunction<K, E, O> {
  private static final long serialVersionUID = 1;

  private final ValueStateDescriptor<S> descriptor;
  private final Format.Maker<S> maker;
  transient ValueState<S> state;

  Keyed(TypeInformation<S> type, Format.Maker<S> maker) {
    descriptor = new ValueStateDescriptor<>("totals", type);
    this.maker = maker;
  }

  @Override
  public void open(OpenContext context) {
    state = getRuntimeContext().getState(descriptor);
  }

  final S newTotal() {
    return maker.get();
  }

  /** The input has ended. */
  void end() {}

  static final class Operator<K, E, S extends Total<? super E>, O> extends KeyedProcessOperator<K, E, O> implements BoundedOneInput {
    private static final long serialVersionUID = 1;

    Operator(Keyed<K, E, S, O> function) {
      super(function);
    }

    /** Without timers for it, which would cost memory and time per key. */
    @Override
    @SuppressWarnings("unchecked")
    public void endInput() throws Exception {
      var function = (Keyed<K, E, S, O>) getUserFunction();
      function.end();
      this.<K>getKeyedStateBackend()
          .applyToAllKeys(
              VoidNamespace.INSTANCE,
              VoidNamespaceSerializer.INSTANCE,
              function.descriptor,
              (K key, ValueState<S> totals) -> FlinkPeer.RESULT.add(key, totals.value()));
    }
  }
}
