// One Kafka node, broker and KRaft controller in one, that lives as long as its stdin. Run from source:
//
//   java -cp CLASSPATH Broker.java SETTINGS [FOLDER]
//
// Formats the log folder if that is new, starts, prints `ready` and waits. The word `stop` on stdin shuts it down in
// order (index files are then as long as their content); the end of stdin without it ends it at once. FOLDER is removed
// at the end, however this ends: whoever started it may have been killed.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Properties;
import java.util.stream.Stream;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import kafka.tools.StorageTool;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.Time;

public class Broker {
  public static void main(String[] arguments) throws Exception {
    int code = 1;
    try {
      run(arguments[0]);
      code = 0;
    } catch (Throwable error) {
      error.printStackTrace();
    }
    if (arguments.length > 1) remove(Path.of(arguments[1]));
    // Not exit(): that waits for an orderly shutdown of what nobody needs any more.
    Runtime.getRuntime().halt(code);
  }

  private static void run(String settings) throws Exception {
    KafkaRaftServer server = start(settings);
    System.out.println("ready");
    if ("stop".equals(new BufferedReader(new InputStreamReader(System.in)).readLine())) {
      server.shutdown();
      server.awaitShutdown();
    }
  }

  private static KafkaRaftServer start(String settings) throws Exception {
    Properties properties = new Properties();
    try (var reader = Files.newBufferedReader(Path.of(settings))) {
      properties.load(reader);
    }
    if (!Files.exists(Path.of(properties.getProperty("log.dirs"), "meta.properties"))) {
      String[] format = {"format", "--cluster-id", Uuid.randomUuid().toString(), "--config", settings};
      int code = StorageTool.execute(format, System.err);
      if (code != 0) throw new IllegalStateException("formatting the log folder ended with code " + code);
    }
    KafkaRaftServer server = new KafkaRaftServer(KafkaConfig.fromProps(properties), Time.SYSTEM);
    server.startup();
    return server;
  }

  /** The broker still runs and may add a file while this goes on: then once more. */
  private static void remove(Path folder) {
    for (int attempt = 0; Files.exists(folder) && attempt < 10; attempt++) {
      try (Stream<Path> all = Files.walk(folder)) {
        all.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
      } catch (IOException | UncheckedIOException error) {
        System.err.println(error);
      }
    }
  }
}
