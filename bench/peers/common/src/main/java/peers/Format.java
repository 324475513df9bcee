package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.util.function.Supplier;

/** How records of a kind stand in a file: as lines of JSON, and some kinds in a fixed number of bytes too. */
public interface Format<E> extends Serializable {
  JsonFactory JSON = new JsonFactory();

  /** Makes objects, and can be sent to a task. */
  interface Maker<E> extends Supplier<E>, Serializable {}

  E create();

  /** Reads fields up to the end of the object that the parser is at the start of. Jackson's tokens: quicker than its binding. */
  void json(JsonParser parser, E into) throws IOException;

  default int binaryBytes() {
    throw new UnsupportedOperationException("this work has lines of JSON only");
  }

  /** Reads at the buffer's position and moves it on; the buffer is little-endian. */
  default void binary(ByteBuffer buffer, E into) {
    throw new UnsupportedOperationException("this work has lines of JSON only");
  }
}
