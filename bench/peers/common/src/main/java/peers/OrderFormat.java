package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;

/**
 * The two forms of an order. NDJSON: {"order_id":…,"customer_id":…,"status":"paid","amount_cents":…,"updated_at":…} and a
 * line feed. Binary: 24 bytes, little-endian: order_id, customer_id, amount_cents, status as uint32; updated_at as int64.
 */
public final class OrderFormat {
  public static final JsonFactory JSON = new JsonFactory();
  private static final ObjectMapper MAPPER =
      JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();
  private static final ObjectReader BINDING = MAPPER.readerFor(Order.class);

  private OrderFormat() {}

  /** Reads fields up to the end of the object that the parser is at the start of. Jackson's tokens: quicker than its binding. */
  public static Order json(JsonParser parser, Order order) throws IOException {
    for (String field; (field = parser.nextFieldName()) != null; ) {
      JsonToken value = parser.nextToken();
      switch (field) {
        case "order_id" -> order.orderId = parser.getLongValue();
        case "customer_id" -> order.customerId = parser.getIntValue();
        case "status" -> order.status = Order.statusOf(parser.getText());
        case "amount_cents" -> order.amountCents = parser.getIntValue();
        case "updated_at" -> order.updatedAt = parser.getLongValue();
        default -> {
          if (value.isStructStart()) parser.skipChildren();
        }
      }
    }
    return order;
  }

  /** As most programs do it: a line bound to a class by its field names. */
  public static Order bound(String line) throws IOException {
    return BINDING.readValue(line);
  }

  public static Order bound(byte[] bytes) {
    try {
      return BINDING.readValue(bytes);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  public static Order json(byte[] bytes) {
    try (JsonParser parser = JSON.createParser(bytes)) {
      parser.nextToken();
      return json(parser, new Order());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Reads at the buffer's position and moves it on; the buffer is little-endian. */
  public static Order binary(ByteBuffer buffer, Order order) {
    int at = buffer.position();
    order.orderId = Integer.toUnsignedLong(buffer.getInt(at));
    order.customerId = buffer.getInt(at + 4);
    order.amountCents = buffer.getInt(at + 8);
    order.status = buffer.getInt(at + 12);
    order.updatedAt = buffer.getLong(at + 16);
    buffer.position(at + Order.BINARY_BYTES);
    return order;
  }
}
