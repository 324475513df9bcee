package peers;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/**
 * Orders out of a file, folded by customer, in Flink's MiniCluster: object reuse on, a checkpoint each second.
 *
 * --input FILE --format ndjson|binary --reader usual|best --events N --warmup N --backend hashmap|rocksdb --parallelism N
 * --folder FOLDER
 */
public final class FlinkPeer {
  /** The MiniCluster runs in this JVM, so its tasks reach these. */
  private static Meter meter;

  private static final Result RESULT = new Result();

  public static void main(String[] words) throws Exception {
    Lifeline.hold();
    Arguments arguments = new Arguments(words);
    String backend = arguments.text("backend");
    int parallelism = (int) arguments.number("parallelism", 1);
    meter = new Meter(arguments.number("warmup"), arguments.number("events"), 0);
    Configuration settings = settings(backend, arguments.text("folder"));
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(parallelism, settings);
    orders(environment, arguments)
        .keyBy(order -> order.customerId, Types.INT)
        .process(new Fold(), Types.INT)
        .sinkTo(new DiscardingSink<>());
    environment.execute();
    System.out.println(meter.line("flink-" + backend, RESULT));
    System.exit(0);
  }

  private static DataStream<Order> orders(StreamExecutionEnvironment environment, Arguments arguments) {
    String input = arguments.text("input");
    boolean json = arguments.text("format").equals("ndjson");
    if (arguments.text("reader").equals("best")) {
      return environment.fromSource(new OrderSource(input, json), WatermarkStrategy.noWatermarks(), "orders", new OrderType());
    }
    if (!json) throw new IllegalArgumentException("the usual reader reads lines of JSON");
    FileSource<String> lines = FileSource.forRecordStreamFormat(new TextLineInputFormat(), new Path(input)).build();
    return environment
        .fromSource(lines, WatermarkStrategy.noWatermarks(), "lines")
        .map(OrderFormat::bound)
        .returns(Types.POJO(Order.class));
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

  /** Emits nothing: who wants to read the state pays for that on top. */
  private static final class Fold extends KeyedProcessFunction<Integer, Order, Integer> {
    private static final long serialVersionUID = 1;
    /** Events between two words to the meter. */
    private static final int STEP = 1024;

    private transient ValueState<Customer> state;
    private transient int untold;

    @Override
    public void open(OpenContext context) {
      state = getRuntimeContext().getState(new ValueStateDescriptor<>("customer", Types.POJO(Customer.class)));
    }

    @Override
    public void processElement(Order order, Context context, Collector<Integer> out) throws Exception {
      Customer customer = state.value();
      if (customer == null) {
        customer = new Customer();
        // Fires when the input has ended: then the state is compared.
        context.timerService().registerEventTimeTimer(Long.MAX_VALUE);
      }
      customer.add(order);
      state.update(customer);
      if (++untold == STEP) tell();
    }

    private void tell() {
      meter.processed(untold);
      untold = 0;
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<Integer> out) throws Exception {
      if (untold > 0) tell();
      RESULT.add(context.getCurrentKey(), state.value());
    }
  }
}
