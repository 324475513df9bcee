package peers;

import java.util.HashMap;
import java.util.Map;

/** `--name value` pairs of a command line. */
public final class Arguments {
  private final Map<String, String> values = new HashMap<>();

  public Arguments(String[] words) {
    if (words.length % 2 != 0) throw new IllegalArgumentException("arguments are pairs: --name value");
    for (int i = 0; i < words.length; i += 2) values.put(words[i].replaceFirst("^--", ""), words[i + 1]);
  }

  public String text(String name) {
    String value = values.get(name);
    if (value == null) throw new IllegalArgumentException("--" + name + " is missing");
    return value;
  }

  public String text(String name, String otherwise) {
    return values.getOrDefault(name, otherwise);
  }

  public long number(String name) {
    return Long.parseLong(text(name));
  }

  public long number(String name, long otherwise) {
    return values.containsKey(name) ? number(name) : otherwise;
  }
}
