package peers;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.LongAdder;
import java.util.zip.CRC32;

/** An order-independent hash of all customers: the sum of the CRC-32 of each one's text, modulo 2^53. */
public final class Result {
  private final LongAdder customers = new LongAdder();
  private final LongAdder events = new LongAdder();
  private final LongAdder hash = new LongAdder();

  public void add(int id, Customer customer) {
    CRC32 crc = new CRC32();
    crc.update(customer.text(id).getBytes(StandardCharsets.US_ASCII));
    customers.increment();
    events.add(customer.count);
    hash.add(crc.getValue());
  }

  public long customers() {
    return customers.sum();
  }

  public long events() {
    return events.sum();
  }

  public long hash() {
    return hash.sum() & ((1L << 53) - 1);
  }
}
