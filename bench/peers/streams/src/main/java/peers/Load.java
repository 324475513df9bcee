package peers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.IntegerSerializer;

/**
 * Puts a file of orders into a new topic, keyed by customer, in the file's own form.
 *
 * --input FILE --format ndjson|binary --broker HOST:PORT --topic NAME --partitions N
 */
public final class Load {
  public static void main(String[] words) throws Exception {
    Lifeline.hold();
    Arguments arguments = new Arguments(words);
    String topic = arguments.text("topic");
    boolean json = arguments.text("format").equals("ndjson");
    Map<String, Object> broker = Map.of("bootstrap.servers", arguments.text("broker"));
    try (Admin admin = Admin.create(broker)) {
      admin.createTopics(List.of(new NewTopic(topic, (int) arguments.number("partitions", 1), (short) 1))).all().get();
    }
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", arguments.text("broker"), "acks", "1", "enable.idempotence", "false", "linger.ms", "20", "batch.size", "262144");
    String input = arguments.text("input");
    RecordReader<Order> orders = RecordReader.open(input, OrderFormat.ORDERS, json, 0, Files.size(Path.of(input)));
    AtomicReference<Exception> failure = new AtomicReference<>();
    try (var producer = new KafkaProducer<>(settings, new IntegerSerializer(), new ByteArraySerializer())) {
      while (orders.hasNext()) {
        Order order = orders.next();
        byte[] value = json ? json(order) : binary(order);
        producer.send(new ProducerRecord<>(topic, order.customerId, value), (metadata, error) -> {
          if (error != null) failure.set(error);
        });
      }
      producer.flush();
    }
    if (failure.get() != null) throw failure.get();
  }

  private static byte[] json(Order order) {
    String text = "{\"order_id\":" + order.orderId + ",\"customer_id\":" + order.customerId + ",\"status\":\"" + Order.STATUSES[order.status]
        + "\",\"amount_cents\":" + order.amountCents + ",\"updated_at\":" + order.updatedAt + "}";
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  private static byte[] binary(Order order) {
    return ByteBuffer.allocate(Order.BINARY_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt((int) order.orderId)
        .putInt(order.customerId)
        .putInt(order.amountCents)
        .putInt(order.status)
        .putLong(order.updatedAt)
        .array();
  }
}
