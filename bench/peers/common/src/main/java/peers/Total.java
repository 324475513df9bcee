package peers;

/** The state of a key, which events are added to. */
public interface Total<E> {
  void add(E event);

  /** How many of the work's events are in it, for the count of all. */
  long events();

  /** By which engines are compared: the key and each number in decimal, joined by |. */
  String text(Object key);

  /** What is folded may be the change of another total; then only one of its two halves counts. */
  default int eventsIn(E event) {
    return 1;
  }

  /** True when all that was added is taken out again: then the key goes. */
  default boolean nothingLeft() {
    return false;
  }
}
