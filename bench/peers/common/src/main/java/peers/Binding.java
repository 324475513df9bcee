package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;

/** As most programs read JSON: bound to a class by its field names. */
public final class Binding<E> implements Serializable {
  private static final long serialVersionUID = 1;
  private static final ObjectMapper MAPPER =
      JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();

  private final ObjectReader reader;

  public Binding(Class<E> type) {
    reader = MAPPER.readerFor(type);
  }

  public E read(String line) throws IOException {
    return reader.readValue(line);
  }

  public E read(byte[] bytes) {
    try {
      return reader.readValue(bytes);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
