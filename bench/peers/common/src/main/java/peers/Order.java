package peers;

import com.fasterxml.jackson.annotation.JsonSetter;

/** One event of the work. Public fields and no arguments to its constructor: Flink takes it for a POJO. */
public class Order {
  public static final String[] STATUSES = {"placed", "paid", "shipped", "cancelled"};
  public static final int BINARY_BYTES = 24;

  public long orderId;
  public int customerId;
  /** Index in STATUSES. */
  public int status;
  public int amountCents;
  public long updatedAt;

  /** For Jackson's data binding. */
  @JsonSetter("status")
  public void readStatus(String name) {
    status = statusOf(name);
  }

  public static int statusOf(String name) {
    for (int i = 0; i < STATUSES.length; i++) {
      if (STATUSES[i].equals(name)) return i;
    }
    throw new IllegalArgumentException("no status: " + name);
  }
}
