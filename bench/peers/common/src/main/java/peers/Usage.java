package peers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.stream.Stream;

/** What processes use, by the kernel's own count. */
public final class Usage {
  private static final double TICKS_PER_SECOND = 100;

  private Usage() {}

  /** User and system time of a process and all its descendants. */
  public static double cpuSeconds(long pid) {
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

  /** A figure of this process's status, such as VmHWM, its highest resident size. */
  public static long statusBytes(String name) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      String line = lines.filter(each -> each.startsWith(name + ":")).findFirst().orElse("0");
      return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
