package peers;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;

/**
 * The two forms of an order. NDJSON: {"order_id":…,"customer_id":…,"status":"paid","amount_cents":…,"updated_at":…} and a
 * line feed. Binary: 24 bytes, little-endian: order_id, customer_id, amount_cents, status as uint32; updated_at as int64.
 */
public final class OrderFormat<E extends Order> implements Format<E> {
  private static final long serialVersionUID = 1;

  public static final OrderFormat<Order> ORDERS = new OrderFormat<>(Order::new);

  private final Maker<E> maker;

  public OrderFormat(Maker<E> maker) {
    this.maker = maker;
  }

  @Override
  public E create() {
    return maker.get();
  }

  @Override
  public void json(JsonParser parser, E order) throws IOException {
    for (String field; (field = parser.nextFieldName()) != null; ) {
      JsonToken value = parser.nextToken();
      switch (field) {
        case "order_id" -> order.orderId = parser.getLongValue();
        case "customer_id" -> order.readCustomer(parser);
        case "status" -> order.status = Order.statusOf(parser.getText());
        case "amount_cents" -> order.amountCents = parser.getIntValue();
        case "updated_at" -> order.updatedAt = parser.getLongValue();
        default -> {
          if (value.isStructStart()) parser.skipChildren();
        }
      }
    }
  }

  @Override
  public int binaryBytes() {
    return Order.BINARY_BYTES;
  }

  @Override
  public void binary(ByteBuffer buffer, E order) {
    int at = buffer.position();
    order.orderId = Integer.toUnsignedLong(buffer.getInt(at));
    order.customerId = buffer.getInt(at + 4);
    order.amountCents = buffer.getInt(at + 8);
    order.status = buffer.getInt(at + 12);
    order.updatedAt = buffer.getLong(at + 16);
    buffer.position(at + Order.BINARY_BYTES);
  }

  public static Order json(byte[] bytes) {
    try (JsonParser parser = JSON.createParser(bytes)) {
      parser.nextToken();
      Order order = new Order();
      ORDERS.json(parser, order);
      return order;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
