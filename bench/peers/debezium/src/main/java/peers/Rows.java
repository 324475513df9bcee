package peers;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;

/** The store and the HTTP server that one would put behind Debezium: current rows in memory, and readers that wait for a write. */
final class Rows {
  private record Waiting(String note, HttpExchange exchange) {}

  private final Map<Long, String> notes = new HashMap<>();
  private final Map<Long, Waiting> waiting = new HashMap<>();

  /** `GET /{id}?{note}` is answered as soon as the row has that note. Returns the port. */
  int listen() throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", this::read);
    server.setExecutor(Executors.newCachedThreadPool());
    server.start();
    return server.getAddress().getPort();
  }

  void put(long id, String json, int after) {
    String name = "\"note\":\"";
    int from = json.indexOf(name, after) + name.length();
    String note = json.substring(from, json.indexOf('"', from));
    Waiting reader;
    synchronized (this) {
      notes.put(id, note);
      reader = waiting.get(id);
      if (reader == null || !reader.note.equals(note)) return;
      waiting.remove(id);
    }
    answer(reader.exchange, note);
  }

  private void read(HttpExchange exchange) {
    long id = Long.parseLong(exchange.getRequestURI().getPath().substring(1));
    String note = exchange.getRequestURI().getQuery();
    synchronized (this) {
      if (!note.equals(notes.get(id))) {
        waiting.put(id, new Waiting(note, exchange));
        return;
      }
    }
    answer(exchange, note);
  }

  private static void answer(HttpExchange exchange, String note) {
    try {
      byte[] body = ("{\"note\":\"" + note + "\"}").getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(200, body.length);
      try (OutputStream out = exchange.getResponseBody()) {
        out.write(body);
      }
    } catch (IOException gone) {
      System.err.println(gone);
    }
  }
}
