package peers;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.util.Collector;

/** The first of two stages: takes a customer's former row back, and gives the new one. */
final class Spend extends Keyed<Integer, Order, Spending, Spending.Change> {
  private static final long serialVersionUID = 1;

  private transient Spending.Change reused;

  Spend(TypeInformation<Spending> type) {
    super(type, Spending::new);
  }

  @Override
  public void processElement(Order order, Context context, Collector<Spending.Change> out) throws Exception {
    if (reused == null) reused = new Spending.Change();
    Spending spending = state.value();
    if (spending == null) spending = newTotal();
    else out.collect(reused.set(spending, -1));
    spending.add(order);
    state.update(spending);
    out.collect(reused.set(spending, 1));
  }
}
