package peers;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Events out of a file, folded by customer, in Flink's MiniCluster: object reuse on, a checkpoint each second.
 *
 * --work orders|uuid|union|stages --input FILE --format ndjson|binary --reader usual|best --events N --warmup N
 * --backend hashmap|rocksdb --parallelism N --folder FOLDER [--heap measured]
 */
public final class FlinkPeer {
  /** The MiniCluster runs in this JVM, so its tasks reach these. */
  static Meter meter;

  static final Result RESULT = new Result();

  private final Arguments arguments;
  private final StreamExecutionEnvironment environment;

  private FlinkPeer(Arguments arguments, StreamExecutionEnvironment environment) {
    this.arguments = arguments;
    this.environment = environment;
  }

  public static void main(String[] words) throws Exception {
    Lifeline.hold();
    Arguments arguments = new Arguments(words);
    String backend = arguments.text("backend");
    int parallelism = (int) arguments.number("parallelism", 1);
    meter = new Meter(arguments.number("warmup"), arguments.number("events"), 0);
    Configuration settings = settings(backend, arguments.text("folder"));
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(parallelism, settings);
    new FlinkPeer(arguments, environment).build();
    environment.execute();
    System.out.println(meter.line("flink-" + backend, RESULT));
    System.exit(0);
  }

  private void build() {
    String work = arguments.text("work", "orders");
    switch (work) {
      case "orders" -> fold(orders(), order -> order.customerId, Types.INT, type(Customer.class), Customer::new);
      case "uuid" -> {
        DataStream<UuidOrder> orders = events(UuidOrder.class, new OrderFormat<>(UuidOrder::new));
        fold(orders, order -> order.customer, Types.STRING, type(Customer.class), Customer::new);
      }
      case "union" -> {
        DataStream<Event> events = events(Event.class, Event.FORMAT);
        fold(events, event -> event.customerId, Types.INT, type(Account.class), Account::new);
      }
      case "stages" -> {
        TypeInformation<Spending.Change> change = type(Spending.Change.class);
        DataStream<Spending.Change> changes = orders()
            .keyBy(order -> order.customerId, Types.INT)
            .transform("spend", change, new Keyed.Operator<>(new Spend(type(Spending.class))));
        fold(changes, one -> one.band, Types.INT, type(Spending.Band.class), Spending.Band::new);
      }
      default -> throw new IllegalArgumentException("no work: " + work);
    }
  }

  private <K, E, S extends Total<? super E>> void fold(
      DataStream<E> events, KeySelector<E, K> key, TypeInformation<K> keyType, TypeInformation<S> type, Format.Maker<S> maker) {
    boolean measuresHeap = !arguments.text("heap", "").isEmpty();
    events
        .keyBy(key, keyType)
        .transform("fold", Types.VOID, new Keyed.Operator<>(new Fold<K, E, S>(type, maker, measuresHeap)))
        .sinkTo(new DiscardingSink<>());
  }

  private boolean isBest() {
    return arguments.text("reader").equals("best");
  }

  /** How values of a class are kept and sent: by hand, or, as usual, by Flink's serializer of POJOs. */
  private <T extends ByHand<? super T>> TypeInformation<T> type(Class<T> type) {
    return isBest() ? new HandType<>(type) : Types.POJO(type);
  }

  private DataStream<Order> orders() {
    return events(Order.class, OrderFormat.ORDERS);
  }

  private <E extends ByHand<? super E>> DataStream<E> events(Class<E> type, Format<E> format) {
    String input = arguments.text("input");
    if (isBest()) {
      RecordSource<E> source = new RecordSource<>(input, format, !isBinary());
      return environment.fromSource(source, WatermarkStrategy.noWatermarks(), "events", type(type));
    }
    if (isBinary()) throw new IllegalArgumentException("the usual reader reads lines of JSON");
    Binding<E> binding = new Binding<>(type);
    FileSource<String> lines = FileSource.forRecordStreamFormat(new TextLineInputFormat(), new Path(input)).build();
    return environment.fromSource(lines, WatermarkStrategy.noWatermarks(), "lines").map(binding::read).returns(type(type));
  }

  private boolean isBinary() {
    return arguments.text("format").equals("binary");
  }

  private static Configuration settings(String backend, String folder) {
    Configuration settings = new Configuration();
    settings.setString("state.backend.type", backend);
    settings.setString("state.backend.rocksdb.localdir", folder + "/rocksdb");
    settings.setString("pipeline.object-reuse", "true");
    settings.setString("execution.checkpointing.interval", "1 s");
    settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
    settings.setString("execution.checkpointing.storage", "filesystem");
    settings.setString("execution.checkpointing.dir", "file://" + folder + "/checkpoints");
    settings.setString("execution.checkpointing.incremental", "true");
    settings.setString("taskmanager.memory.managed.size", "512m");
    settings.setString("restart-strategy.type", "none");
    return settings;
  }
}
