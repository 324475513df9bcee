package peers;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceEnumerator;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceReader;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.util.InstantiationUtil;

/**
 * A file of orders as a Flink source: a range of bytes per reader, read and parsed in the task's own thread. Quicker than
 * FileSource, which makes a String of each line in one thread and hands batches of them to another.
 */
public class OrderSource implements Source<Order, OrderSource.Range, Collection<OrderSource.Range>> {
  private static final long serialVersionUID = 1;

  private final String path;
  private final boolean json;

  public OrderSource(String path, boolean json) {
    this.path = path;
    this.json = json;
  }

  public record Range(String path, boolean json, long from, long to)
      implements IteratorSourceSplit<Order, OrderReader>, Serializable {
    @Override
    public String splitId() {
      return Long.toString(to);
    }

    @Override
    public OrderReader getIterator() {
      return OrderReader.open(path, json, from, to);
    }

    @Override
    public Range getUpdatedSplitForIterator(OrderReader reader) {
      return new Range(path, json, reader.position(), to);
    }
  }

  @Override
  public Boundedness getBoundedness() {
    return Boundedness.BOUNDED;
  }

  @Override
  public SplitEnumerator<Range, Collection<Range>> createEnumerator(SplitEnumeratorContext<Range> context) {
    try {
      long size = Files.size(Path.of(path));
      int readers = context.currentParallelism();
      List<Range> ranges = new ArrayList<>();
      for (int i = 0; i < readers; i++) ranges.add(new Range(path, json, size * i / readers, size * (i + 1) / readers));
      return new IteratorSourceEnumerator<>(context, ranges);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  @Override
  public SplitEnumerator<Range, Collection<Range>> restoreEnumerator(SplitEnumeratorContext<Range> context, Collection<Range> ranges) {
    return new IteratorSourceEnumerator<>(context, ranges);
  }

  @Override
  public SourceReader<Order, Range> createReader(SourceReaderContext context) {
    return new IteratorSourceReader<>(context);
  }

  @Override
  public SimpleVersionedSerializer<Range> getSplitSerializer() {
    return new JavaSerializer<>();
  }

  @Override
  public SimpleVersionedSerializer<Collection<Range>> getEnumeratorCheckpointSerializer() {
    return new JavaSerializer<>();
  }

  private static final class JavaSerializer<T> implements SimpleVersionedSerializer<T> {
    @Override
    public int getVersion() {
      return 1;
    }

    @Override
    public byte[] serialize(T value) throws IOException {
      return InstantiationUtil.serializeObject(value);
    }

    @Override
    public T deserialize(int version, byte[] bytes) throws IOException {
      try {
        return InstantiationUtil.deserializeObject(bytes, OrderSource.class.getClassLoader());
      } catch (ClassNotFoundException error) {
        throw new IOException(error);
      }
    }
  }
}
