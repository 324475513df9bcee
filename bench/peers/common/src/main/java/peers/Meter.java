package peers;

import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Wall time and CPU time between the end of the warm-up (a number of events) and the last event: start of the JVM and of
 * the engine, and the first work of its compiler, are left out. CPU time is that of this process and all its descendants;
 * a second process that takes part, a broker, is counted beside it.
 */
public final class Meter {
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
    startCpu = Usage.cpuSeconds(ProcessHandle.current().pid());
    startBrokerCpu = broker == 0 ? 0 : Usage.cpuSeconds(broker);
    startNs = System.nanoTime();
  }

  private synchronized void end() {
    seconds = (System.nanoTime() - startNs) / 1e9;
    cpuSeconds = Usage.cpuSeconds(ProcessHandle.current().pid()) - startCpu;
    brokerCpuSeconds = broker == 0 ? 0 : Usage.cpuSeconds(broker) - startBrokerCpu;
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
        peer, result.events(), measured, seconds, cpuSeconds, brokerCpuSeconds, result.rows(), result.hash(), Usage.statusBytes("VmHWM"), Heap.grownBytes());
  }
}
