package peers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;

/**
 * Wall time and CPU time between the end of the warm-up (a number of events) and the last event: start of the JVM and of
 * the engine, and the first work of its compiler, are left out. CPU time is that of this process and all its descendants;
 * a second process that takes part, a broker, is counted beside it.
 */
public final class Meter {
  private static final double TICKS_PER_SECOND = 100;

  private final AtomicLong done = new AtomicLong();
  private final CountDownLatch ended = new CountDownLatch(1);
  private final long warmup;
  private final long events;
  private final long broker;
  private long startNs;
  private double startCpu;
  private double startBrokerCpu;
  private double seconds;
  private double cpuSeconds;
  private double brokerCpuSeconds;
  private long measured;

  /**
   * @param warmup events before the measurement
   * @param events in all
   * @param broker a process id, 0 for none
   */
  public Meter(long warmup, long events, long broker) {
    if (warmup < 1 || events <= warmup) throw new IllegalArgumentException("1 or more of --events, not all, are --warmup");
    this.warmup = warmup;
    this.events = events;
    this.broker = broker;
  }

  /** So many events more were processed. */
  public void processed(long count) {
    long now = done.addAndGet(count);
    if (now >= warmup && now - count < warmup) begin(now);
    if (now == events) end();
  }

  private synchronized void begin(long now) {
    measured = events - now;
    startCpu = cpuSeconds(ProcessHandle.current().pid());
    startBrokerCpu = broker == 0 ? 0 : cpuSeconds(broker);
    startNs = System.nanoTime();
  }

  private synchronized void end() {
    seconds = (System.nanoTime() - startNs) / 1e9;
    cpuSeconds = cpuSeconds(ProcessHandle.current().pid()) - startCpu;
    brokerCpuSeconds = broker == 0 ? 0 : cpuSeconds(broker) - startBrokerCpu;
    ended.countDown();
  }

  /** Waits for the last event. */
  public void awaitEnd() throws InterruptedException {
    ended.await();
  }

  /** The one line that a peer prints. */
  public synchronized String line(String peer, Result result) {
    return String.format(
        Locale.ROOT,
        "{\"peer\":\"%s\",\"events\":%d,\"measuredEvents\":%d,\"seconds\":%.3f,\"cpuSeconds\":%.2f,"
            + "\"brokerCpuSeconds\":%.2f,\"rows\":%d,\"hash\":%d,\"maxRssBytes\":%d,\"stateBytes\":%d}",
        peer, result.events(), measured, seconds, cpuSeconds, brokerCpuSeconds, result.rows(), result.hash(), maxRssBytes(), Heap.grownBytes());
  }

  private static double cpuSeconds(long pid) {
    try (Stream<ProcessHandle> descendants = ProcessHandle.of(pid).orElseThrow().descendants()) {
      return ownCpuSeconds(pid) + descendants.mapToDouble(child -> ownCpuSeconds(child.pid())).sum();
    }
  }

  /** User and system time of a process and of its children that have ended. */
  private static double ownCpuSeconds(long pid) {
    try {
      String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
      long ticks = 0;
      for (int i = 11; i <= 14; i++) ticks += Long.parseLong(fields[i]);
      return ticks / TICKS_PER_SECOND;
    } catch (NoSuchFileException ended) {
      return 0;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static long maxRssBytes() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      String peak = lines.filter(line -> line.startsWith("VmHWM")).findFirst().orElse("0");
      return Long.parseLong(peak.replaceAll("\\D", "")) * 1024;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
