package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.io.UncheckedIOException;

/** What is known of a customer: the state that each engine keeps per key. */
public class Customer implements Total<Order>, ByHand<Customer> {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  public long count;
  public long sumCents;
  public long placed;
  public long paid;
  public long shipped;
  public long cancelled;
  public long lastUpdatedAt;

  @Override
  public void add(Order order) {
    count++;
    sumCents += order.amountCents;
    switch (order.status) {
      case 0 -> placed++;
      case 1 -> paid++;
      case 2 -> shipped++;
      default -> cancelled++;
    }
    if (order.updatedAt > lastUpdatedAt) lastUpdatedAt = order.updatedAt;
  }

  public static byte[] json(Customer customer) {
    try {
      return customer == null ? null : MAPPER.writeValueAsBytes(customer);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  public static Customer bound(byte[] json) {
    try {
      return json == null ? null : MAPPER.readValue(json, Customer.class);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  @Override
  public long events() {
    return count;
  }

  @Override
  public String text(Object id) {
    return id + "|" + count + "|" + sumCents + "|" + placed + "|" + paid + "|" + shipped + "|" + cancelled + "|" + lastUpdatedAt;
  }

  @Override
  public Customer fresh() {
    return new Customer();
  }

  @Override
  public void copyFrom(Customer other) {
    count = other.count;
    sumCents = other.sumCents;
    placed = other.placed;
    paid = other.paid;
    shipped = other.shipped;
    cancelled = other.cancelled;
    lastUpdatedAt = other.lastUpdatedAt;
  }

  @Override
  public void write(DataOutput out) throws IOException {
    out.writeLong(count);
    out.writeLong(sumCents);
    out.writeLong(placed);
    out.writeLong(paid);
    out.writeLong(shipped);
    out.writeLong(cancelled);
    out.writeLong(lastUpdatedAt);
  }

  @Override
  public void read(DataInput in) throws IOException {
    count = in.readLong();
    sumCents = in.readLong();
    placed = in.readLong();
    paid = in.readLong();
    shipped = in.readLong();
    cancelled = in.readLong();
    lastUpdatedAt = in.readLong();
  }
}
