package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;

/** What is known of a customer: the state that each engine keeps per key. */
public class Customer {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  public long count;
  public long sumCents;
  public long placed;
  public long paid;
  public long shipped;
  public long cancelled;
  public long lastUpdatedAt;

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

  /** By which engines are compared: id|count|sum|placed|paid|shipped|cancelled|last, in decimal. */
  public String text(int id) {
    return id + "|" + count + "|" + sumCents + "|" + placed + "|" + paid + "|" + shipped + "|" + cancelled + "|" + lastUpdatedAt;
  }
}
