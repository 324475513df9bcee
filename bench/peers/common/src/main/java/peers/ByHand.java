package peers;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;

/** What writes, reads and copies itself field by field: quicker than an engine's own way, which goes through reflection. */
public interface ByHand<T> {
  /** A new object of the same class. */
  T fresh();

  void copyFrom(T other);

  void write(DataOutput out) throws IOException;

  void read(DataInput in) throws IOException;
}
