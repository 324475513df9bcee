package peers;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.LongAdder;
import java.util.zip.CRC32;

/** An order-independent hash of all rows: the sum of the CRC-32 of each one's text, modulo 2^53. */
public final class Result {
  private final LongAdder rows = new LongAdder();
  private final LongAdder events = new LongAdder();
  private final LongAdder hash = new LongAdder();

  public void add(Object key, Total<?> total) {
    CRC32 crc = new CRC32();
    crc.update(total.text(key).getBytes(StandardCharsets.US_ASCII));
    rows.increment();
    events.add(total.events());
    hash.add(crc.getValue());
  }

  public long rows() {
    return rows.sum();
  }

  public long events() {
    return events.sum();
  }

  public long hash() {
    return hash.sum() & ((1L << 53) - 1);
  }
}
