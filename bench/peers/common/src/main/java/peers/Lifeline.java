package peers;

import java.io.IOException;

/** Ends this process when its stdin does: whoever started it is gone, and a consumer would wait for its broker for ever. */
public final class Lifeline {
  private Lifeline() {}

  public static void hold() {
    Thread thread = new Thread(() -> {
      try {
        while (System.in.read() != -1) {}
      } catch (IOException error) {
        System.err.println(error);
      }
      Runtime.getRuntime().halt(1);
    }, "lifeline");
    thread.setDaemon(true);
    thread.start();
  }
}
