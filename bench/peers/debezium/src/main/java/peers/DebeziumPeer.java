package peers;

import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Debezium's embedded engine over PostgreSQL's table of orders, with its default settings but for `--poll`.
 *
 * <p>`snapshot` and `drain` read so many `--events` and print what that took from the engine's start; `serve` puts each row into
 * a map and answers over HTTP until its stdin ends, its first line is the port.
 */
public final class DebeziumPeer {
  private final CountDownLatch ended = new CountDownLatch(1);
  private final long wanted;
  private final Rows rows;
  private long events;
  private long hash;
  private long endNs;

  private DebeziumPeer(long wanted, Rows rows) {
    this.wanted = wanted;
    this.rows = rows;
  }

  public static void main(String[] words) throws Exception {
    Lifeline.hold();
    Arguments arguments = new Arguments(words);
    String mode = arguments.text("mode");
    boolean serves = mode.equals("serve");
    Rows rows = serves ? new Rows() : null;
    DebeziumPeer peer = new DebeziumPeer(serves ? Long.MAX_VALUE : arguments.number("events"), rows);
    long startNs = System.nanoTime();
    double startCpu = Usage.cpuSeconds(ProcessHandle.current().pid());
    ExecutorService executor = Executors.newSingleThreadExecutor();
    executor.execute(peer.engine(properties(arguments, mode)));
    if (serves) System.out.println(rows.listen());
    peer.ended.await();
    double cpu = Usage.cpuSeconds(ProcessHandle.current().pid()) - startCpu;
    System.out.printf(
        Locale.ROOT,
        "{\"events\":%d,\"seconds\":%.3f,\"cpuSeconds\":%.2f,\"hash\":%d,\"maxRssBytes\":%d,\"anonBytes\":%d}%n",
        peer.events, (peer.endNs - startNs) / 1e9, cpu, peer.hash, Usage.statusBytes("VmHWM"), Usage.statusBytes("RssAnon"));
    // Closing the engine in order takes seconds, and nothing is to be kept.
    Runtime.getRuntime().halt(0);
  }

  private static Properties properties(Arguments arguments, String mode) {
    Properties properties = new Properties();
    properties.setProperty("name", "peer");
    properties.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
    properties.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
    properties.setProperty("offset.storage.file.filename", arguments.text("folder") + "/offsets");
    properties.setProperty("database.hostname", "127.0.0.1");
    properties.setProperty("database.port", arguments.text("port"));
    properties.setProperty("database.user", "postgres");
    properties.setProperty("database.password", System.getenv("PGPASSWORD"));
    properties.setProperty("database.dbname", arguments.text("database"));
    properties.setProperty("topic.prefix", "peer");
    properties.setProperty("plugin.name", "pgoutput");
    properties.setProperty("slot.name", arguments.text("slot"));
    properties.setProperty("publication.name", arguments.text("publication"));
    properties.setProperty("publication.autocreate.mode", "disabled");
    properties.setProperty("table.include.list", arguments.text("table"));
    properties.setProperty("snapshot.mode", mode.equals("snapshot") ? "initial_only" : "no_data");
    properties.setProperty("key.converter.schemas.enable", "false");
    properties.setProperty("value.converter.schemas.enable", "false");
    String poll = arguments.text("poll", "");
    if (!poll.isEmpty()) properties.setProperty("poll.interval.ms", poll);
    return properties;
  }

  private DebeziumEngine<ChangeEvent<String, String>> engine(Properties properties) {
    return DebeziumEngine.create(Json.class)
        .using(properties)
        .notifying(this::take)
        .using((success, message, error) -> {
          if (success) return;
          System.err.println(message + " " + error);
          Runtime.getRuntime().halt(1);
        })
        .build();
  }

  private void take(List<ChangeEvent<String, String>> batch, DebeziumEngine.RecordCommitter<ChangeEvent<String, String>> committer)
      throws InterruptedException {
    for (ChangeEvent<String, String> event : batch) {
      String value = event.value();
      int after = value == null ? -1 : value.indexOf("\"after\":{");
      if (after >= 0 && events < wanted) {
        long id = number(value, "\"order_id\":", after);
        if (rows != null) rows.put(id, value, after);
        hash += id * 31 + number(value, "\"amount_cents\":", after);
        if (++events == wanted) {
          endNs = System.nanoTime();
          ended.countDown();
        }
      }
      committer.markProcessed(event);
    }
    committer.markBatchFinished();
  }

  /** The digits after `name`. */
  private static long number(String json, String name, int from) {
    int at = json.indexOf(name, from) + name.length();
    long number = 0;
    for (char c = json.charAt(at); c >= '0' && c <= '9'; c = json.charAt(++at)) number = number * 10 + (c - '0');
    return number;
  }
}
