package peers;

import java.lang.management.ManagementFactory;

/** How much more is live on the heap at the end than at the beginning, garbage collected; where somebody wants to know. */
public final class Heap {
  private static final int COLLECTIONS = 3;
  private static long before = -1;
  private static long after = -1;

  private Heap() {}

  public static synchronized void begin() {
    before = liveBytes();
  }

  /** Does nothing when it was not begun. */
  public static synchronized void end() {
    if (before >= 0) after = liveBytes();
  }

  /** 0 when it was not measured. */
  static synchronized long grownBytes() {
    return after < 0 ? 0 : after - before;
  }

  private static long liveBytes() {
    for (int i = 0; i < COLLECTIONS; i++) System.gc();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
  }
}
