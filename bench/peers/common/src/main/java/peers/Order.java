package peers;

import com.fasterxml.jackson.annotation.JsonSetter;
import com.fasterxml.jackson.core.JsonParser;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;

/** One event of the work. Public fields and no arguments to its constructor: Flink takes it for a POJO. */
public class Order implements ByHand<Order> {
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

  void readCustomer(JsonParser parser) throws IOException {
    customerId = parser.getIntValue();
  }

  @Override
  public Order fresh() {
    return new Order();
  }

  @Override
  public void copyFrom(Order other) {
    orderId = other.orderId;
    customerId = other.customerId;
    status = other.status;
    amountCents = other.amountCents;
    updatedAt = other.updatedAt;
  }

  @Override
  public void write(DataOutput out) throws IOException {
    out.writeLong(orderId);
    out.writeInt(customerId);
    out.writeInt(status);
    out.writeInt(amountCents);
    out.writeLong(updatedAt);
  }

  @Override
  public void read(DataInput in) throws IOException {
    orderId = in.readLong();
    customerId = in.readInt();
    status = in.readInt();
    amountCents = in.readInt();
    updatedAt = in.readLong();
  }
}
