package peers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/**
 * Orders out of a topic, folded by customer, in Kafka Streams with its default settings (at least once, changelog, commits
 * each 30 s, 10 MiB of cache), a thread per --parallelism. The usual reader binds JSON to classes, the values of its state too (as Kafka's examples
 * do); the best reads tokens, and its state has values of 56 bytes.
 *
 * --broker HOST:PORT --broker-pid PID --topic NAME --format ndjson|binary --reader usual|best --events N --warmup N
 * --backend memory|rocksdb --parallelism N --folder FOLDER [--cache BYTES]
 */
public final class StreamsPeer {
  static final String STORE = "customers";

  public static void main(String[] words) throws Exception {
    Lifeline.hold();
    Arguments arguments = new Arguments(words);
    String backend = arguments.text("backend");
    Meter meter = new Meter(arguments.number("warmup"), arguments.number("events"), arguments.number("broker-pid"));
    KafkaStreams streams = new KafkaStreams(topology(arguments, () -> meter.processed(1)), settings(arguments));
    streams.setUncaughtExceptionHandler(error -> {
      error.printStackTrace();
      Runtime.getRuntime().halt(1);
      return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    streams.start();
    meter.awaitEnd();
    Result result = new Result();
    var store = streams.store(StoreQueryParameters.fromNameAndType(STORE, QueryableStoreTypes.<Integer, Customer>keyValueStore()));
    try (KeyValueIterator<Integer, Customer> all = store.all()) {
      all.forEachRemaining(entry -> result.add(entry.key, entry.value));
    }
    System.out.println(meter.line("kafka-streams-" + backend, result));
    streams.close(Duration.ofSeconds(30));
    System.exit(0);
  }

  static Topology topology(Arguments arguments, Runnable processed) {
    Serde<Order> order = Serdes.serdeFrom((topic, value) -> null, orderDeserializer(arguments));
    KeyValueBytesStoreSupplier store =
        arguments.text("backend").equals("memory") ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE);
    StreamsBuilder builder = new StreamsBuilder();
    builder
        .stream(arguments.text("topic"), Consumed.with(Serdes.Integer(), order))
        .groupByKey(Grouped.with(Serdes.Integer(), order))
        .aggregate(
            Customer::new,
            (id, one, customer) -> {
              customer.add(one);
              processed.run();
              return customer;
            },
            Materialized.<Integer, Customer>as(store).withKeySerde(Serdes.Integer()).withValueSerde(customerSerde(isUsual(arguments))));
    return builder.build();
  }

  static Properties settings(Arguments arguments) {
    Properties settings = new Properties();
    settings.put("application.id", "peer-" + ProcessHandle.current().pid());
    settings.put("bootstrap.servers", arguments.text("broker"));
    settings.put("state.dir", arguments.text("folder"));
    settings.put("num.stream.threads", (int) arguments.number("parallelism", 1));
    settings.put("auto.offset.reset", "earliest");
    settings.put("replication.factor", 1);
    String cache = arguments.text("cache", "");
    if (!cache.isEmpty()) settings.put("statestore.cache.max.bytes", cache);
    return settings;
  }

  private static boolean isUsual(Arguments arguments) {
    return arguments.text("reader").equals("usual");
  }

  private static Deserializer<Order> orderDeserializer(Arguments arguments) {
    boolean json = arguments.text("format").equals("ndjson");
    if (json && isUsual(arguments)) {
      Binding<Order> binding = new Binding<>(Order.class);
      return (topic, bytes) -> binding.read(bytes);
    }
    if (json) return (topic, bytes) -> OrderFormat.json(bytes);
    return (topic, bytes) -> {
      Order one = new Order();
      OrderFormat.ORDERS.binary(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN), one);
      return one;
    };
  }

  private static Serde<Customer> customerSerde(boolean usual) {
    if (usual) return Serdes.serdeFrom((topic, customer) -> Customer.json(customer), (topic, bytes) -> Customer.bound(bytes));
    return Serdes.serdeFrom(
        (topic, customer) -> customer == null
            ? null
            : ByteBuffer.allocate(7 * Long.BYTES)
                .putLong(customer.count)
                .putLong(customer.sumCents)
                .putLong(customer.placed)
                .putLong(customer.paid)
                .putLong(customer.shipped)
                .putLong(customer.cancelled)
                .putLong(customer.lastUpdatedAt)
                .array(),
        (topic, bytes) -> {
          if (bytes == null) return null;
          ByteBuffer buffer = ByteBuffer.wrap(bytes);
          Customer customer = new Customer();
          customer.count = buffer.getLong();
          customer.sumCents = buffer.getLong();
          customer.placed = buffer.getLong();
          customer.paid = buffer.getLong();
          customer.shipped = buffer.getLong();
          customer.cancelled = buffer.getLong();
          customer.lastUpdatedAt = buffer.getLong();
          return customer;
        });
  }
}
